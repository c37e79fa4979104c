/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright the daxpin authors. See LICENSE. */

/* What `daxpin info` and `daxpin doctor` say of RDMA devices: by which way a device
 * gets at files on fsdax, and why not by another one */

#include "child.h"

#include "tools/rdma.c"

/* Check the answer for a device with this driver, which reports paging (1), does not
 * (0), or cannot be asked (-1), beside a module that offers these ways. */
static void check_way(const char *driver, int demand, unsigned offers,
                      daxpin_rdma_way_t way, const char *words)
{
    daxpin_rdma_t rdma = {.demand = demand};
    char reason[320];

    snprintf(rdma.driver, sizeof(rdma.driver), "%s", driver);
    assert_string_equal(daxpin_rdma_way_name(daxpin_rdma_way(&rdma, offers,
                                                             reason,
                                                             sizeof(reason))),
                        daxpin_rdma_way_name(way));
    assert_contains(reason, words);
}

/* Mappings are for all devices, up to Linux 6.14. */
static void test_mapping(void **state)
{
    check_way("mlx5_core", 1, DAXPIN_IOC_MAPPING, DAXPIN_RDMA_MAPPING,
              "pin module maps");
    check_way("", -1, DAXPIN_IOC_MAPPING, DAXPIN_RDMA_MAPPING,
              "pin module maps");
    (void)state;
}

/* dma-bufs are for drivers that import them. */
static void test_dmabuf(void **state)
{
    check_way("mlx5_core", 1, DAXPIN_IOC_DMABUF, DAXPIN_RDMA_DMABUF,
              "its driver mlx5_core imports");
    check_way("ice", 0, DAXPIN_IOC_DMABUF, DAXPIN_RDMA_DMABUF,
              "contrib/check-dmabuf");
    check_way("bnx2", 1, DAXPIN_IOC_DMABUF, DAXPIN_RDMA_DEMAND,
              "its driver bnx2 is not known to import");
    check_way("", 0, DAXPIN_IOC_DMABUF, DAXPIN_RDMA_EMULATION,
              "its driver of a software device is not known to import");
    (void)state;
}

/* Paging, without the module, is what a probe has to find out. */
static void test_demand(void **state)
{
    check_way("mlx5_core", 1, 0, DAXPIN_RDMA_DEMAND, "if a probe finds");
    check_way("", 1, 0, DAXPIN_RDMA_DEMAND, "there is no pin module");
    (void)state;
}

static void test_emulation(void **state)
{
    check_way("mlx5_core", 0, 0, DAXPIN_RDMA_EMULATION,
              "there is no pin module for this process, and it has no "
              "on-demand paging");
    check_way("", -1, 0, DAXPIN_RDMA_EMULATION,
              "is not known to have on-demand paging");
    (void)state;
}

int main(int argc, char **argv)
{
    const child_entry_t children[]  = {{NULL, NULL}};
    const struct CMUnitTest tests[] = {unit_case(test_mapping),
                                       unit_case(test_dmabuf),
                                       unit_case(test_demand),
                                       unit_case(test_emulation)};

    return unit_main("rdma", argc, argv, children, tests);
}
