/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kernel.h - what the boot methods (linux.c, elf.c, multiboot.c) share. */
#pragma once

#include "vmm/fw/boot.h"

#include <stddef.h>

enum {
    GDT_GPA = 0x500,
    GDT_BYTES = 0x28,
    ZERO_PAGE_GPA = 0x7000,
    MEMMAP_GPA = 0x8000,
    PAGE_TABLES_GPA = 0x9000,
    CMDLINE_GPA = 0x20000,
    CMDLINE_MAX = 65536,
    KERNEL_MIN_GPA = 0x100000,
};

struct kernel_file {
    const char *path; /* borrowed */
    int fd;           /* owned */
    uint64_t size;
    uint8_t head[8192 + 64]; /* Multiboot's header lies in the first 8 KiB */
    size_t head_len;
};

/* what: "kernel", "initrd", for messages. */
int kernel_open(const char *path, const char *what, struct kernel_file *ret, struct err **err)
    MUST_CHECK;
void kernel_close(struct kernel_file *f);

int boot_add_gdt(struct boot *b, bool long_mode, struct err **err) MUST_CHECK;
int boot_add_page_tables(struct boot *b, struct err **err) MUST_CHECK;
/* As high as possible in RAM below limit, and above after. */
int boot_place_initrd(const struct boot_params *p, uint64_t size, uint64_t after, uint64_t limit,
                      uint64_t *ret_gpa, struct err **err) MUST_CHECK;

bool multiboot_probe(const struct kernel_file *f);
int multiboot_boot(struct boot *b, const struct boot_params *p, struct kernel_file *f,
                   struct err **err) MUST_CHECK;
bool elf_probe(const struct kernel_file *f);
int elf_boot(struct boot *b, const struct boot_params *p, struct kernel_file *f, struct err **err)
    MUST_CHECK;
bool bzimage_probe(const struct kernel_file *f);
int bzimage_boot(struct boot *b, const struct boot_params *p, struct kernel_file *f,
                 struct err **err) MUST_CHECK;
/* The Linux boot_params page for a kernel entered by the boot protocol; setup: the header as in the
 * file (at 0x1f1), or NULL. */
int linux_add_zero_page(struct boot *b, const struct boot_params *p, const uint8_t *setup,
                        size_t setup_len, uint64_t initrd_gpa, uint64_t initrd_size,
                        struct err **err) MUST_CHECK;

/* Loads the program headers; *ret_top is the end of what they cover, *ret_pvh the entry of a Xen
 * PVH note (0: none). */
struct elf_image {
    bool is64;
    uint64_t entry;
    uint64_t pvh_entry;
    uint64_t top;
};
int elf_load(struct boot *b, const struct kernel_file *f, uint64_t ram_low, struct elf_image *ret,
             struct err **err) MUST_CHECK;
