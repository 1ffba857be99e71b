/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * multiboot.c - Multiboot 0.6.96, modules included (kvm-unit-tests and many small kernels).
 *
 * -initrd takes "FILE ARGS,FILE ARGS": each is a module, whose string is FILE ARGS.
 */
#include "vmm/fw/kernel.h"

#include "base/bytes.h"
#include "base/str.h"

#include <errno.h>
#include <string.h>

enum {
    MB_MAGIC = 0x1badb002,
    MB_BOOTED = 0x2badb002,
    MB_SEARCH = 8192,
    MB_FLAG_ADDRESSES = 1 << 16, /* of the header: load addresses are given */
    MB_INFO_MEMORY = 1 << 0,
    MB_INFO_CMDLINE = 1 << 2,
    MB_INFO_MODS = 1 << 3,
    MB_INFO_MMAP = 1 << 6,
    MB_INFO_LOADER = 1 << 9,
    MB_MAX_MODULES = 16,
    MB_INFO_GPA = ZERO_PAGE_GPA,
    MB_MAP_GPA = 0x6000, /* below 0x8000, where real-mode kernels begin */
    MB_MODS_OFF = 256, /* in the info page */
    MB_STRINGS_OFF = MB_MODS_OFF + MB_MAX_MODULES * 16,
    MB_STRINGS_MAX = 1536,
};

/* Offset of the header, or -1. */
static long find_header(const struct kernel_file *f)
{
    for (size_t off = 0; off + 12 <= f->head_len && off < MB_SEARCH; off += 4) {
        const uint8_t *p = f->head + off;

        if (le32_get(p) == MB_MAGIC &&
            (uint32_t)(le32_get(p) + le32_get(p + 4) + le32_get(p + 8)) == 0) {
            return (long)off;
        }
    }
    return -1;
}

bool multiboot_probe(const struct kernel_file *f)
{
    return find_header(f) >= 0;
}

/* The kernel by the addresses in its header ("a.out kludge"). */
static int load_raw(struct boot *b, const struct kernel_file *f, long at, uint64_t ram_low,
                    uint64_t *ret_entry, uint64_t *ret_top, struct err **err)
{
    const uint8_t *h = f->head + at;
    uint32_t header_addr;
    uint32_t load_addr;
    uint32_t load_end;
    uint32_t bss_end;
    uint64_t off;
    uint64_t len;

    if ((size_t)at + 32 > f->head_len) {
        return err_set(err, EINVAL, "the file is truncated");
    }
    header_addr = le32_get(h + 12);
    load_addr = le32_get(h + 16);
    load_end = le32_get(h + 20);
    bss_end = le32_get(h + 24);
    if (header_addr < load_addr || header_addr - load_addr > (uint64_t)at) {
        return err_set(err, EINVAL, "its Multiboot addresses are bad");
    }
    off = (uint64_t)at - (header_addr - load_addr);
    len = load_end != 0 ? (uint64_t)load_end - load_addr : f->size - off;
    if ((load_end != 0 && load_end < load_addr) || !range_within(off, len, f->size)) {
        return err_set(err, EINVAL, "its Multiboot addresses are bad, or the file is truncated");
    }
    *ret_entry = le32_get(h + 28);
    *ret_top = max_u64(load_addr + len, bss_end);
    if (*ret_top > ram_low) {
        return err_set(err, ENOMEM, "it needs memory up to %llu MiB: see -m",
                       (unsigned long long)(*ret_top >> 20) + 1);
    }
    return boot_add_file(b, load_addr, f->fd, off, len, *ret_top - load_addr - len, err);
}

struct modules {
    uint8_t *page; /* the info page: module list and strings go there */
    unsigned n;
    size_t strings;
    uint64_t next_gpa;
};

static int put_string(struct modules *mods, const char *s, size_t len, uint32_t *ret_gpa,
                      struct err **err)
{
    if (mods->strings + len + 1 > MB_STRINGS_MAX) {
        return err_set(err, E2BIG, "the module strings are too long");
    }
    memcpy(mods->page + MB_STRINGS_OFF + mods->strings, s, len);
    *ret_gpa = (uint32_t)(MB_INFO_GPA + MB_STRINGS_OFF + mods->strings);
    mods->strings += len + 1;
    return 0;
}

static int add_module(struct boot *b, const struct boot_params *p, struct modules *mods,
                      const char *spec, size_t len, struct err **err)
{
    CLEANUP(kernel_close) struct kernel_file f = { .fd = -1 };
    AUTO_FREE char *path = strndup(spec, len);
    uint8_t *entry = mods->page + MB_MODS_OFF + mods->n * 16;
    uint32_t string_gpa = 0;
    int r;

    if (path == NULL || mods->n == MB_MAX_MODULES) {
        return err_set(err, E2BIG, "more than %d modules", MB_MAX_MODULES);
    }
    path[strcspn(path, " ")] = '\0';
    r = kernel_open(path, "module", &f, err);
    if (r == 0) {
        r = put_string(mods, spec, len, &string_gpa, err);
    }
    if (r < 0) {
        return r;
    }
    mods->next_gpa = round_up_u64(mods->next_gpa, 4096);
    if (!range_within(mods->next_gpa, f.size, p->ram_low)) {
        return err_set(err, ENOMEM, "module '%s' does not fit into memory: see -m", path);
    }
    le32_put(entry, (uint32_t)mods->next_gpa);
    le32_put(entry + 4, (uint32_t)(mods->next_gpa + f.size));
    le32_put(entry + 8, string_gpa);
    r = boot_add_file(b, mods->next_gpa, f.fd, 0, f.size, 0, err);
    mods->next_gpa += f.size;
    mods->n++;
    return r;
}

static int add_modules(struct boot *b, const struct boot_params *p, struct modules *mods,
                       struct err **err)
{
    const char *at = p->initrd;
    int r = 0;

    while (r == 0 && at != NULL && *at != '\0') {
        size_t len = strcspn(at, ",");

        r = add_module(b, p, mods, at, len, err);
        at += len + (at[len] == ',');
    }
    return r;
}

static int add_info(struct boot *b, const struct boot_params *p, struct modules *mods,
                    struct err **err)
{
    uint8_t *info = mods->page;
    uint8_t map[E820_MAX * 24] = { 0 };
    struct e820_entry e820[E820_MAX];
    unsigned n = e820_build(p, e820);
    AUTO_FREE char *cmdline = str_format("%s %s", p->kernel, p->cmdline);
    uint32_t loader = 0;
    int r;

    if (cmdline == NULL || strlen(cmdline) >= CMDLINE_MAX) {
        return err_set(err, E2BIG, "the command line is too long");
    }
    r = put_string(mods, "vireo", 5, &loader, err);
    if (r < 0) {
        return r;
    }
    le32_put(info, MB_INFO_MEMORY | MB_INFO_CMDLINE | MB_INFO_MODS | MB_INFO_MMAP | MB_INFO_LOADER);
    le32_put(info + 4, 639);
    le32_put(info + 8, (uint32_t)((p->ram_low - 0x100000) >> 10));
    le32_put(info + 16, CMDLINE_GPA);
    le32_put(info + 20, mods->n);
    le32_put(info + 24, MB_INFO_GPA + MB_MODS_OFF);
    le32_put(info + 44, n * 24);
    le32_put(info + 48, MB_MAP_GPA);
    le32_put(info + 64, loader);
    for (unsigned i = 0; i < n; i++) {
        le32_put(map + i * 24, 20); /* size of the entry, without this word */
        le64_put(map + i * 24 + 4, e820[i].addr);
        le64_put(map + i * 24 + 12, e820[i].len);
        le32_put(map + i * 24 + 20, e820[i].type);
    }
    r = boot_add_copy(b, MB_MAP_GPA, map, n * 24u, err);
    if (r == 0) {
        r = boot_add_copy(b, CMDLINE_GPA, cmdline, strlen(cmdline) + 1, err);
    }
    return r == 0 ? boot_add(b, MB_INFO_GPA, TAKE_PTR(mods->page), 4096, err) : r;
}

int multiboot_boot(struct boot *b, const struct boot_params *p, struct kernel_file *f,
                   struct err **err)
{
    long at = find_header(f);
    AUTO_FREE uint8_t *page = calloc(1, 4096);
    struct modules mods = { .page = page };
    uint64_t entry = 0;
    uint64_t top = 0;
    int r;

    if (page == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    if ((le32_get(f->head + at + 4) & MB_FLAG_ADDRESSES) != 0) {
        r = load_raw(b, f, at, p->ram_low, &entry, &top, err);
    } else if (elf_probe(f)) {
        struct elf_image elf;

        r = elf_load(b, f, p->ram_low, &elf, err);
        entry = elf.entry;
        top = elf.top;
    } else {
        r = err_set(err, EINVAL, "a Multiboot kernel that is not ELF must give load addresses");
    }
    mods.next_gpa = top;
    if (r == 0) {
        r = add_modules(b, p, &mods, err);
    }
    if (r == 0) {
        r = add_info(b, p, &mods, err);
        page = mods.page; /* NULL once handed over */
    }
    b->entry.mode = BOOT_PROTECTED;
    b->entry.rip = entry;
    b->entry.rax = MB_BOOTED;
    b->entry.rbx = MB_INFO_GPA;
    return r == 0 ? boot_add_gdt(b, false, err) : r;
}
