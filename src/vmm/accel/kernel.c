/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kernel.c - the kernel's KVM as a provider. */
#include "vmm/accel/accel.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int kernel_open(void)
{
    return open("/dev/kvm", O_RDWR | O_CLOEXEC);
}

static int kernel_ioctl(int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}

static void *kernel_mmap(size_t len, int fd, uint64_t off)
{
    return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)off);
}

const struct accel_provider accel_kernel = {
    .name = "kvm",
    .desc = "the kernel's KVM (/dev/kvm)",
    .open = kernel_open,
    .ioctl = kernel_ioctl,
    .mmap = kernel_mmap,
    .close = close,
};
