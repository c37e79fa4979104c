! SPDX-License-Identifier: BSD-3-Clause
! Copyright the daxpin authors. See LICENSE.

! A window that lives in files, in Fortran: as allocate.c, by the module
! mpi_f08. Every rank puts a number at its neighbour, makes it durable by the
! flush, gets it back, and goes on with the next one, for some seconds. Started
! again, it goes on where it was.
!
! usage: allocate FILE [SECONDS [KEY VALUE]...]
!
! FILE, KEY and VALUE: see daxpin-window(7). To build: mpifort allocate.f90
! Exit status 0: this rank lived to the end, with or without errors from MPI.

program allocate_window
    use, intrinsic :: iso_c_binding, only: c_ptr, c_f_pointer
    use, intrinsic :: iso_fortran_env, only: int64, real64
    use mpi_f08
    implicit none

    integer(MPI_ADDRESS_KIND), parameter :: segment_bytes = 4096
    integer :: rank, ranks, neighbour, error
    integer(int64), pointer :: mine(:)
    type(MPI_Win) :: win

    call MPI_Init()
    call MPI_Comm_rank(MPI_COMM_WORLD, rank)
    call MPI_Comm_size(MPI_COMM_WORLD, ranks)
    if (command_argument_count() < 1) then
        print '(a)', 'usage: allocate FILE [SECONDS [KEY VALUE]...]'
        call MPI_Abort(MPI_COMM_WORLD, 2)
    end if
    neighbour = mod(rank + 1, ranks)

    call make_window()
    print '(a, i0, a, i0)', 'rank ', rank, ': the count here is ', mine(1)
    call MPI_Barrier(MPI_COMM_WORLD)

    call MPI_Win_lock_all(0, win)
    call count_there(error)
    if (error /= MPI_SUCCESS) call print_error(error)
    call MPI_Win_unlock_all(win, error)

    ! This rank's memory is still memory after a truncate
    mine(2) = rank
    call MPI_Win_free(win, error)
    print '(a, i0, a)', 'rank ', rank, ': still alive'
    call MPI_Finalize()
    if (error /= MPI_SUCCESS) stop 1

contains

    function argument(number) result(value)
        integer, intent(in) :: number
        character(len=:), allocatable :: value
        integer :: length

        call get_command_argument(number, length=length)
        allocate (character(len=length) :: value)
        call get_command_argument(number, value)
    end function argument

    subroutine make_window()
        type(MPI_Info) :: info
        type(c_ptr) :: base
        integer :: i

        call MPI_Info_create(info)
        call MPI_Info_set(info, 'daxpin_path', argument(1))
        call MPI_Info_set(info, 'daxpin_persist', 'flush')
        do i = 3, command_argument_count() - 1, 2
            call MPI_Info_set(info, argument(i), argument(i + 1))
        end do
        call MPI_Win_allocate(segment_bytes, 8, info, MPI_COMM_WORLD, base, win)
        call MPI_Info_free(info)
        call MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN)
        call c_f_pointer(base, mine, [segment_bytes / 8])
        call check_window()
    end subroutine make_window

    ! Without daxpin MPI ignores the keys, and the window is in no file
    subroutine check_window()
        character(len=MPI_MAX_INFO_VAL) :: path, system
        type(MPI_Info) :: info
        logical :: known

        call MPI_Win_get_info(win, info)
        call MPI_Info_get(info, 'daxpin_path', len(path), path, known)
        call MPI_Info_get(info, 'daxpin_file_system', len(system), system, &
                          known)
        call MPI_Info_free(info)
        if (.not. known) then
            print '(a)', 'the window is in no file; daxpin doctor says why'
            call MPI_Abort(MPI_COMM_WORLD, 1)
        end if
        print '(a, i0, 4a)', 'rank ', rank, ': the window is in ', trim(path), &
            ', on ', trim(system)
    end subroutine check_window

    ! MPI reads and writes these variables after the call of put or get
    subroutine count_there(error)
        integer, intent(out) :: error
        integer(int64), asynchronous :: number(1), back(1)
        real(real64) :: last

        last = MPI_Wtime() + seconds()
        call get_number(number, error)
        do while (error == MPI_SUCCESS)
            number = number + 1
            call MPI_Put(number, 1, MPI_INTEGER8, neighbour, &
                         0_MPI_ADDRESS_KIND, 1, MPI_INTEGER8, win, error)
            if (error /= MPI_SUCCESS) return
            call MPI_Win_flush(neighbour, win, error)
            if (error /= MPI_SUCCESS) return
            call get_number(back, error)
            if (error /= MPI_SUCCESS) return
            if (back(1) /= number(1)) then
                print '(a, i0, a, i0)', 'put ', number, ' and got ', back
                call MPI_Abort(MPI_COMM_WORLD, 1)
            end if
            if (MPI_Wtime() >= last) exit
        end do
        if (error == MPI_SUCCESS) then
            print '(a, i0, a, i0, a, i0)', 'rank ', rank, ': counted to ', &
                number, ' at rank ', neighbour
        end if
    end subroutine count_there

    function seconds()
        real(real64) :: seconds
        character(len=32) :: text

        seconds = 5
        if (command_argument_count() >= 2) then
            call get_command_argument(2, text)
            read (text, *) seconds
        end if
    end function seconds

    subroutine get_number(number, error)
        integer(int64), asynchronous, intent(inout) :: number(1)
        integer, intent(out) :: error

        call MPI_Get(number, 1, MPI_INTEGER8, neighbour, 0_MPI_ADDRESS_KIND, &
                     1, MPI_INTEGER8, win, error)
        if (error == MPI_SUCCESS) call MPI_Win_flush(neighbour, win, error)
    end subroutine get_number

    subroutine print_error(error)
        integer, intent(in) :: error
        character(len=MPI_MAX_ERROR_STRING) :: text
        integer :: length

        call MPI_Error_string(error, text, length)
        print '(a, i0, a, i0, 2a)', 'rank ', rank, ': counting at rank ', &
            neighbour, ' ends: ', text(:length)
    end subroutine print_error

end program allocate_window
