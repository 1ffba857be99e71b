/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * linux.c - Linux's boot protocol (kernel documentation, arch/x86/boot.rst): a bzImage is a
 * real-mode set-up part, which we stand in for, and a protected-mode part loaded at 1 MiB or where
 * it prefers.
 */
#include "vmm/fw/kernel.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

/* Offsets in boot_params (zero-page.rst) and the set-up header (boot.rst). */
enum {
    BP_ACPI_RSDP = 0x070,
    BP_E820_COUNT = 0x1e8,
    BP_SETUP_HEADER = 0x1f1,
    BP_SETUP_SECTS = 0x1f1,
    BP_MAGIC = 0x202,
    BP_VERSION = 0x206,
    BP_TYPE_OF_LOADER = 0x210,
    BP_LOADFLAGS = 0x211,
    BP_CODE32_START = 0x214,
    BP_RAMDISK_IMAGE = 0x218,
    BP_RAMDISK_SIZE = 0x21c,
    BP_HEAP_END = 0x224,
    BP_CMDLINE = 0x228,
    BP_INITRD_MAX = 0x22c,
    BP_RELOCATABLE = 0x234,
    BP_XLOADFLAGS = 0x236,
    BP_CMDLINE_SIZE = 0x238,
    BP_PREF_ADDRESS = 0x258,
    BP_INIT_SIZE = 0x260,
    BP_HEADER_END = 0x290,
    BP_E820 = 0x2d0,

    LOADED_HIGH = 1,
    CAN_USE_HEAP = 0x80,
    XLF_KERNEL_64 = 1,
    LOADER_UNDEFINED = 0xff,
    ENTRY64 = 0x200,
};

bool bzimage_probe(const struct kernel_file *f)
{
    return f->head_len >= 1024 && le16_get(f->head + 0x1fe) == 0xaa55 &&
           memcmp(f->head + BP_MAGIC, "HdrS", 4) == 0;
}

int linux_add_zero_page(struct boot *b, const struct boot_params *p, const uint8_t *setup,
                        size_t setup_len, uint64_t initrd_gpa, uint64_t initrd_size,
                        struct err **err)
{
    uint8_t *zp = calloc(1, 4096);
    struct e820_entry map[E820_MAX];
    unsigned n = e820_build(p, map);

    if (zp == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    if (setup != NULL) {
        memcpy(zp + BP_SETUP_HEADER, setup, setup_len);
    } else {
        le16_put(zp + 0x1fe, 0xaa55);
        memcpy(zp + BP_MAGIC, "HdrS", 4);
        le16_put(zp + BP_VERSION, 0x20c);
    }
    zp[BP_TYPE_OF_LOADER] = LOADER_UNDEFINED;
    zp[BP_LOADFLAGS] |= LOADED_HIGH | CAN_USE_HEAP;
    le16_put(zp + BP_HEAP_END, 0xfe00);
    le32_put(zp + BP_CMDLINE, CMDLINE_GPA);
    le32_put(zp + BP_RAMDISK_IMAGE, (uint32_t)initrd_gpa);
    le32_put(zp + BP_RAMDISK_SIZE, (uint32_t)initrd_size);
    le64_put(zp + BP_ACPI_RSDP, p->rsdp);
    zp[BP_E820_COUNT] = (uint8_t)n;
    for (unsigned i = 0; i < n; i++) {
        le64_put(zp + BP_E820 + i * 20, map[i].addr);
        le64_put(zp + BP_E820 + i * 20 + 8, map[i].len);
        le32_put(zp + BP_E820 + i * 20 + 16, map[i].type);
    }
    return boot_add(b, ZERO_PAGE_GPA, zp, 4096, err);
}

static int enter(struct boot *b, uint64_t load_gpa, bool long_mode, struct err **err)
{
    int r = boot_add_gdt(b, long_mode, err);

    b->entry.mode = long_mode ? BOOT_LONG : BOOT_PROTECTED;
    b->entry.rip = load_gpa + (long_mode ? ENTRY64 : 0);
    b->entry.rsi = ZERO_PAGE_GPA;
    b->entry.rsp = ZERO_PAGE_GPA;
    if (r == 0 && long_mode) {
        r = boot_add_page_tables(b, err);
    }
    return r;
}

int bzimage_boot(struct boot *b, const struct boot_params *p, struct kernel_file *f,
                 struct err **err)
{
    CLEANUP(kernel_close) struct kernel_file initrd = { .fd = -1 };
    const uint8_t *h = f->head;
    unsigned sects = h[BP_SETUP_SECTS] != 0 ? h[BP_SETUP_SECTS] : 4;
    uint64_t setup_bytes = (sects + 1) * 512u;
    unsigned version = le16_get(h + BP_VERSION);
    uint64_t load_gpa = KERNEL_MIN_GPA;
    uint64_t initrd_gpa = 0;
    uint64_t init_size;
    uint64_t cmdline_max = le32_get(h + BP_CMDLINE_SIZE);
    size_t header_end = min_u64(0x202u + h[0x201], BP_HEADER_END);
    bool long_mode;
    int r;

    if (version < 0x206 || (h[BP_LOADFLAGS] & LOADED_HIGH) == 0) {
        return err_set(err, EINVAL, "boot protocol 0x%x is older than 2.06", version);
    }
    if (f->size <= setup_bytes) {
        return err_set(err, EINVAL, "the file is truncated");
    }
    if (strlen(p->cmdline) > min_u64(cmdline_max, CMDLINE_MAX - 1)) {
        return err_set(err, E2BIG, "the command line is longer than the kernel's %llu bytes",
                       (unsigned long long)cmdline_max);
    }
    if (version >= 0x20a && h[BP_RELOCATABLE] == 0) {
        load_gpa = le64_get(h + BP_PREF_ADDRESS);
    }
    init_size = version >= 0x20a ? le32_get(h + BP_INIT_SIZE) : f->size - setup_bytes;
    /* The kernel unpacks itself to its preferred address when it is loaded below that. */
    if (version >= 0x20a) {
        init_size += max_u64(le64_get(h + BP_PREF_ADDRESS), load_gpa) - load_gpa;
    }
    if (!range_within(load_gpa, max_u64(init_size, f->size - setup_bytes), p->ram_low)) {
        return err_set(err, ENOMEM, "it needs %llu MiB of memory, the machine has %llu: see -m",
                       (unsigned long long)((load_gpa + init_size) >> 20) + 1,
                       (unsigned long long)(p->ram_low + p->ram_high) >> 20);
    }
    r = boot_add_file(b, load_gpa, f->fd, setup_bytes, f->size - setup_bytes, 0, err);
    if (r == 0 && p->initrd != NULL) {
        r = kernel_open(p->initrd, "initrd", &initrd, err);
        if (r == 0) {
            r = boot_place_initrd(p, initrd.size, load_gpa + init_size,
                                  (uint64_t)le32_get(h + BP_INITRD_MAX) + 1, &initrd_gpa, err);
        }
        if (r == 0) {
            r = boot_add_file(b, initrd_gpa, initrd.fd, 0, initrd.size, 0, err);
        }
    }
    long_mode =
        version >= 0x20c && (le16_get(h + BP_XLOADFLAGS) & XLF_KERNEL_64) != 0 && p->long_mode;
    if (r == 0) {
        r = linux_add_zero_page(b, p, h + BP_SETUP_HEADER, header_end - BP_SETUP_HEADER, initrd_gpa,
                                initrd.size, err);
    }
    if (r == 0) {
        r = boot_add_copy(b, CMDLINE_GPA, p->cmdline, strlen(p->cmdline) + 1, err);
    }
    return r == 0 ? enter(b, load_gpa, long_mode, err) : r;
}
