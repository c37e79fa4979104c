/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* Stop both sides until the kernel has ended the lease */

/*
 * usage: stopped DIRECTORY put|get|atomic|post
 *
 * Both sides are stopped for longer than a lease lasts that another process, the
 * intruder, wants to end. What the origin does after that is not under lease, so
 * its first operation reports that, or a flush that follows it, however soon it
 * comes.
 */

#include "side.h"

#define SIZE 4096

static char path[4096];
static const char *what;
static int intruder_sock;
static volatile sig_atomic_t was_stopped;

static void note_stop(int signo)
{
    was_stopped = 1;
}

/* Stop both sides, write into the file when the lease has expired, and let them
 * go on */
static int intruder(int sock)
{
    const pid_t pids[] = {(pid_t)receive_word(sock), (pid_t)receive_word(sock)};
    int fd;

    usleep(100 * 1000);
    if ((kill(pids[0], SIGSTOP) != 0) || (kill(pids[1], SIGSTOP) != 0)) {
        die("cannot stop the sides: %m");
    }
    fd = open(path, O_WRONLY);
    if ((fd < 0) || (pwrite(fd, "12345678", 8, 0) != 8)) {
        fprintf(stderr, "cannot write into %s: %m\n", path);
        return 1;
    }
    close(fd);
    return (kill(pids[0], SIGCONT) != 0) || (kill(pids[1], SIGCONT) != 0);
}

static int target(side_t *side)
{
    void *address = map_file(path, SIZE);
    ucp_mem_h memh;

    side_open(side, UCP_FEATURE_RMA | UCP_FEATURE_AMO64, 0);
    memh = side_map(side, address, SIZE);
    side_send_key(side, memh, address);
    (void)receive_word(side->sock); /* however long it is stopped */
    check(ucp_mem_unmap(side->context, memh), "ucp_mem_unmap");
    side_close(side);
    return 0;
}

static ucs_status_t operate(side_t *side, uint64_t base, ucp_rkey_h rkey)
{
    uint64_t value = 1, result = 0;

    if (strcmp(what, "put") == 0) {
        return side_put(side, &value, sizeof(value), base, rkey);
    }
    if (strcmp(what, "get") == 0) {
        return side_get(side, &value, sizeof(value), base, rkey);
    }
    return side_atomic(side, UCP_ATOMIC_OP_ADD, &value, sizeof(value),
                       strcmp(what, "atomic") == 0, &result, base, rkey);
}

/* Operate until all was stopped, and once more */
static ucs_status_t operate_all(side_t *side, uint64_t base, ucp_rkey_h rkey)
{
    ucs_status_t status = UCS_OK;
    int is_last         = 0;

    while ((status == UCS_OK) && !is_last) {
        is_last = was_stopped;
        status  = operate(side, base, rkey);
        if (status == UCS_OK) {
            status = side_flush(side);
        }
    }
    return status;
}

static int origin(side_t *side)
{
    ucs_status_t status;
    ucp_rkey_h rkey;
    uint64_t base;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCONT, note_stop);
    side_open(side, UCP_FEATURE_RMA | UCP_FEATURE_AMO64, 0);
    rkey = side_receive_key(side, &base);
    send_word(intruder_sock, (uint64_t)getpid());
    send_word(intruder_sock, (uint64_t)getppid());

    status = operate_all(side, base, rkey);
    if (!was_stopped) {
        die("%s: %s, before the stop", what, ucs_status_string(status));
    }
    if (status != UCS_ERR_CONNECTION_RESET) {
        die("%s after the stop: %s", what, ucs_status_string(status));
    }
    (void)side_flush(side);
    ucp_rkey_destroy(rkey);
    send_word(side->sock, 0);
    side_close(side);
    return 0;
}

int main(int argc, char **argv)
{
    int status, ret;
    pid_t pid;

    if (argc != 3) {
        die("usage: stopped DIRECTORY put|get|atomic|post");
    }
    snprintf(path, sizeof(path), "%s/taken", argv[1]);
    what          = argv[2];
    intruder_sock = run_third(intruder, &pid);
    ret           = run_sides(target, origin);
    if (waitpid(pid, &status, 0) != pid) {
        die("waitpid: %m");
    }
    return (ret != 0) || (status != 0);
}
