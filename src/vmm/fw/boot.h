/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * boot.h - what lies in guest memory when the boot CPU starts, and where it starts.
 *
 * A boot method fills a struct boot once; boot_load() puts it into memory, at start and again at
 * each reset.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct gmem;

enum boot_mode {
    BOOT_RESET_VECTOR, /* real mode at 0xfffffff0 */
    BOOT_PROTECTED,    /* flat 32-bit protected mode, paging off */
    BOOT_LONG,         /* 64-bit mode, page tables as loaded */
};

struct boot_entry {
    enum boot_mode mode;
    uint64_t rip, rsp, rax, rbx, rsi;
    uint64_t cr3;      /* BOOT_LONG */
    uint64_t gdt_base; /* entries: 0, 0, 64-bit or flat code (0x10), flat data (0x18) */
    uint16_t gdt_limit;
};

/* A piece of guest memory: from a buffer, or from a file that stays open. */
struct boot_blob {
    uint64_t gpa;
    uint64_t len;      /* bytes from the source */
    uint64_t zero_len; /* zeroes after them */
    void *data;        /* owned, or NULL */
    int fd;            /* owned; -1 when data is set */
    uint64_t fd_off;
};

enum { BOOT_MAX_BLOBS = 64 };

struct boot {
    struct boot_blob blobs[BOOT_MAX_BLOBS];
    unsigned n;
    struct boot_entry entry;
};

/* What a boot method is told. */
struct boot_params {
    const char *kernel;  /* path */
    const char *initrd;  /* path, or "path args,path args" for Multiboot; may be NULL */
    const char *cmdline; /* never NULL */
    uint64_t ram_low;    /* bytes from address 0 */
    uint64_t ram_high;   /* bytes from 4 GiB */
    uint64_t rsdp;       /* 0: no ACPI */
    bool long_mode;      /* the CPU model has it */
};

void boot_init(struct boot *b);
void boot_done(struct boot *b);
/* Takes over data. */
int boot_add(struct boot *b, uint64_t gpa, void *data, uint64_t len, struct err **err) MUST_CHECK;
/* The same, copying. */
int boot_add_copy(struct boot *b, uint64_t gpa, const void *data, uint64_t len, struct err **err)
    MUST_CHECK;
/* A piece of a file; the descriptor is duplicated. */
int boot_add_file(struct boot *b, uint64_t gpa, int fd, uint64_t off, uint64_t len,
                  uint64_t zero_len, struct err **err) MUST_CHECK;
int boot_load(const struct boot *b, const struct gmem *mem, struct err **err) MUST_CHECK;

/* Recognises bzImage, PVH ELF, ELF vmlinux and Multiboot 1, and fills b. */
int boot_kernel(struct boot *b, const struct boot_params *p, struct err **err) MUST_CHECK;

/* The e820 map (ACPI 6.4, 15.1). */
struct e820_entry {
    uint64_t addr;
    uint64_t len;
    uint32_t type;
};
enum { E820_RAM = 1, E820_RESERVED = 2, E820_MAX = 8 };
unsigned e820_build(const struct boot_params *p, struct e820_entry ret[E820_MAX]);
