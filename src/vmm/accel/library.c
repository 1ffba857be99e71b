/* SPDX-License-Identifier: GPL-2.0-or-later */
/* library.c - our CPU engine, which offers the same API in user space, as a provider. */
#include "vmm/accel/accel.h"

#include "vireo/kvm.h"

#include <sys/mman.h>

static void *library_mmap(size_t len, int fd, uint64_t off)
{
    return mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)off);
}

const struct accel_provider accel_library = {
    .name = "vireo",
    .desc = "Vireo's own CPU engine, in user space (alias: tcg)",
    .open = vireo_kvm_open,
    .ioctl = vireo_kvm_ioctl,
    .mmap = library_mmap,
    .close = vireo_kvm_close,
};
