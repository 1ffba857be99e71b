/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * elf.c - ELF kernels: by the PVH entry of a Xen note (Xen documentation, misc/pvh.pandoc), else a
 * 64-bit vmlinux by Linux's 64-bit protocol.
 */
#include "vmm/fw/kernel.h"

#include "base/bytes.h"
#include "os/fd.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

enum {
    MAX_PHDRS = 32,
    MAX_NOTES_BYTES = 65536,
    XEN_ELFNOTE_PHYS32_ENTRY = 18,
    PVH_MAGIC = 0x336ec578,
    PVH_VERSION = 1,
    PVH_MODULE_OFF = 64, /* of the one module's entry behind the start info */
};

bool elf_probe(const struct kernel_file *f)
{
    const uint8_t *h = f->head;

    return f->head_len >= sizeof(Elf64_Ehdr) && memcmp(h, ELFMAG, SELFMAG) == 0 &&
           h[EI_DATA] == ELFDATA2LSB &&
           (le16_get(h + 18) == EM_X86_64 || le16_get(h + 18) == EM_386);
}

struct phdr {
    uint32_t type;
    uint64_t off, paddr, filesz, memsz;
};

static struct phdr phdr_get(const uint8_t *p, bool is64)
{
    return is64 ? (struct phdr) { le32_get(p), le64_get(p + 8), le64_get(p + 24), le64_get(p + 32),
                                  le64_get(p + 40) }
                : (struct phdr) { le32_get(p), le32_get(p + 4), le32_get(p + 12), le32_get(p + 16),
                                  le32_get(p + 20) };
}

/* Looks for Xen's PHYS32_ENTRY among the notes (name "Xen"). */
static uint64_t find_pvh(const uint8_t *notes, size_t len)
{
    struct reader r = reader_of(notes, len);

    while (r.left >= 12 && !r.failed) {
        uint32_t name_len = reader_le32(&r);
        uint32_t desc_len = reader_le32(&r);
        uint32_t type = reader_le32(&r);
        const uint8_t *name = reader_take(&r, round_up_u64(name_len, 4));
        const uint8_t *desc = reader_take(&r, round_up_u64(desc_len, 4));

        if (desc == NULL) {
            break;
        }
        if (type == XEN_ELFNOTE_PHYS32_ENTRY && name_len == 4 && memcmp(name, "Xen", 4) == 0 &&
            desc_len >= 4) {
            return le32_get(desc);
        }
    }
    return 0;
}

static int load_one(struct boot *b, const struct kernel_file *f, const struct phdr *ph,
                    uint64_t ram_low, struct elf_image *ret, struct err **err)
{
    uint64_t mem = max_u64(ph->filesz, ph->memsz);

    if (ph->type == PT_NOTE && ph->filesz <= MAX_NOTES_BYTES && ret->pvh_entry == 0) {
        AUTO_FREE uint8_t *notes = malloc(ph->filesz + 1);

        if (notes != NULL && fd_pread_all(f->fd, notes, ph->filesz, ph->off) == 0) {
            ret->pvh_entry = find_pvh(notes, ph->filesz);
        }
    }
    if (ph->type != PT_LOAD || mem == 0) {
        return 0;
    }
    if (!range_within(ph->off, ph->filesz, f->size)) {
        return err_set(err, EINVAL, "the file is truncated");
    }
    if (!range_within(ph->paddr, mem, ram_low)) {
        return err_set(err, ENOMEM, "it needs memory up to %llu MiB, the machine has %llu: see -m",
                       (unsigned long long)((ph->paddr + mem) >> 20) + 1,
                       (unsigned long long)ram_low >> 20);
    }
    ret->top = max_u64(ret->top, ph->paddr + mem);
    return boot_add_file(b, ph->paddr, f->fd, ph->off, ph->filesz, mem - ph->filesz, err);
}

int elf_load(struct boot *b, const struct kernel_file *f, uint64_t ram_low, struct elf_image *ret,
             struct err **err)
{
    const uint8_t *h = f->head;
    uint8_t table[MAX_PHDRS * sizeof(Elf64_Phdr)];
    bool is64 = h[EI_CLASS] == ELFCLASS64;
    uint64_t off = is64 ? le64_get(h + 32) : le32_get(h + 28);
    unsigned size = is64 ? le16_get(h + 54) : le16_get(h + 42);
    unsigned n = is64 ? le16_get(h + 56) : le16_get(h + 44);
    int r = 0;

    *ret = (struct elf_image) { .is64 = is64, .entry = is64 ? le64_get(h + 24) : le32_get(h + 24) };
    if (n == 0 || n > MAX_PHDRS || size != (is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)) ||
        fd_pread_all(f->fd, table, (size_t)n * size, off) < 0) {
        return err_set(err, EINVAL, "its program headers are bad");
    }
    for (unsigned i = 0; i < n && r == 0; i++) {
        struct phdr ph = phdr_get(table + (size_t)i * size, is64);

        r = load_one(b, f, &ph, ram_low, ret, err);
    }
    return r == 0 && ret->top == 0 ? err_set(err, EINVAL, "it has nothing to load") : r;
}

/* struct hvm_start_info, its module list, and its memory map, in one page each. */
static int add_start_info(struct boot *b, const struct boot_params *p, uint64_t initrd_gpa,
                          uint64_t initrd_size, struct err **err)
{
    uint8_t info[PVH_MODULE_OFF + 32] = { 0 };
    uint8_t map[E820_MAX * 24] = { 0 };
    struct e820_entry e820[E820_MAX];
    unsigned n = e820_build(p, e820);
    int r;

    le32_put(info, PVH_MAGIC);
    le32_put(info + 4, PVH_VERSION);
    le32_put(info + 12, initrd_size > 0 ? 1 : 0);
    le64_put(info + 16, initrd_size > 0 ? ZERO_PAGE_GPA + PVH_MODULE_OFF : 0);
    le64_put(info + 24, CMDLINE_GPA);
    le64_put(info + 32, p->rsdp);
    le64_put(info + 40, MEMMAP_GPA);
    le32_put(info + 48, n);
    le64_put(info + PVH_MODULE_OFF, initrd_gpa);
    le64_put(info + PVH_MODULE_OFF + 8, initrd_size);
    for (unsigned i = 0; i < n; i++) {
        le64_put(map + i * 24, e820[i].addr);
        le64_put(map + i * 24 + 8, e820[i].len);
        le32_put(map + i * 24 + 16, e820[i].type);
    }
    r = boot_add_copy(b, ZERO_PAGE_GPA, info, sizeof(info), err);
    return r == 0 ? boot_add_copy(b, MEMMAP_GPA, map, n * 24u, err) : r;
}

int elf_boot(struct boot *b, const struct boot_params *p, struct kernel_file *f, struct err **err)
{
    CLEANUP(kernel_close) struct kernel_file initrd = { .fd = -1 };
    struct elf_image elf;
    uint64_t initrd_gpa = 0;
    bool pvh;
    int r = elf_load(b, f, p->ram_low, &elf, err);

    if (r < 0) {
        return r;
    }
    pvh = elf.pvh_entry != 0;
    if (!pvh && (!elf.is64 || !p->long_mode)) {
        return err_set(err, EINVAL,
                       "an ELF file without PVH entry has to be a 64-bit Linux kernel");
    }
    if (strlen(p->cmdline) >= CMDLINE_MAX) {
        return err_set(err, E2BIG, "the command line is longer than %d bytes", CMDLINE_MAX - 1);
    }
    if (p->initrd != NULL) {
        r = kernel_open(p->initrd, "initrd", &initrd, err);
        if (r == 0) {
            r = boot_place_initrd(p, initrd.size, elf.top, 0x80000000u, &initrd_gpa, err);
        }
        if (r == 0) {
            r = boot_add_file(b, initrd_gpa, initrd.fd, 0, initrd.size, 0, err);
        }
    }
    if (r == 0) {
        r = boot_add_copy(b, CMDLINE_GPA, p->cmdline, strlen(p->cmdline) + 1, err);
    }
    if (r == 0) {
        r = boot_add_gdt(b, !pvh, err);
    }
    if (r == 0 && pvh) {
        b->entry.mode = BOOT_PROTECTED;
        b->entry.rip = elf.pvh_entry;
        b->entry.rbx = ZERO_PAGE_GPA;
        return add_start_info(b, p, initrd_gpa, initrd.size, err);
    }
    if (r == 0) {
        b->entry.mode = BOOT_LONG;
        b->entry.rip = elf.entry;
        b->entry.rsi = ZERO_PAGE_GPA;
        b->entry.rsp = ZERO_PAGE_GPA;
        r = boot_add_page_tables(b, err);
    }
    return r == 0 ? linux_add_zero_page(b, p, NULL, 0, initrd_gpa, initrd.size, err) : r;
}
