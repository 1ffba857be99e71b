/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files given as kernels: bzImage, ELF with PVH notes, Multiboot. */
#include "vmm/fw/boot.h"
#include "vmm/mem/gmem.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RAM = 64 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("kernel", MFD_CLOEXEC);
    struct gmem mem = { .n = 0 };
    struct boot b;
    char path[32];
    struct boot_params p = { .kernel = path, .cmdline = "", .ram_low = RAM, .long_mode = true };

    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        return 0;
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    boot_init(&b);
    if (boot_kernel(&b, &p, NULL) == 0 && gmem_add(&mem, "ram", 0, RAM, false, NULL) == 0) {
        (void)!boot_load(&b, &mem, NULL);
    }
    gmem_done(&mem);
    boot_done(&b);
    (void)close(fd);
    return 0;
}
