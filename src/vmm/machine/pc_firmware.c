/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pc_firmware.c - what lies below 4 GiB: SeaBIOS unless told otherwise, as ROM; or flash. */
#include "base/bytes.h"
#include "base/str.h"
#include "vmm/dev/device.h"
#include "vmm/fw/romfile.h"
#include "vmm/machine/pc.h"

#include <errno.h>

#define FOUR_GIB 0x100000000ull

enum { ROM_MAX = 16 << 20, LEGACY_MAX = 0x20000, DEFAULT_FLASH_END = 0 };

static int add_rom(struct machine *m, const char *name, struct err **err)
{
    AUTO_FREE char *rom = NULL;
    AUTO_FREE uint8_t *copy = NULL;
    size_t len;
    uint64_t size;
    uint64_t tail;
    int r = romfile_read(m, name, ROM_MAX, &rom, &len, err);

    if (r < 0) {
        return r;
    }
    if (len < 16 || len % 65536 != 0) {
        return err_set(err, EINVAL,
                       "-bios: '%s' is no PC firmware: its size must be a multiple of "
                       "64 KiB",
                       name);
    }
    size = len;
    tail = min_u64(size, LEGACY_MAX);
    copy = malloc(tail);
    if (copy == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    memcpy(copy, rom + size - tail, tail);
    r = gmem_add(&m->mem, "pc.bios", FOUR_GIB - size, size, true, err);
    if (r == 0) {
        r = boot_add(&m->boot, FOUR_GIB - size, TAKE_PTR(rom), size, err);
    }
    return r == 0 ? boot_add(&m->boot, 0x100000 - tail, TAKE_PTR(copy), tail, err) : r;
}

int pc_load_firmware(struct machine *m, const struct board_config *config, struct err **err)
{
    struct pc *pc = m->board;
    uint64_t end = FOUR_GIB;

    m->boot.entry.mode = BOOT_RESET_VECTOR;
    if (pc->flash[0] == NULL) {
        if (pc->flash[1] != NULL) {
            return err_set(err, EINVAL, "if=pflash: unit 1 without unit 0");
        }
        return add_rom(m, config->bios != NULL ? config->bios : "bios-256k.bin", err);
    }
    if (config->bios != NULL) {
        return err_set(err, EINVAL, "-bios and flash exclude each other");
    }
    for (unsigned i = 0; i < PC_MAX_FLASH && pc->flash[i] != NULL; i++) {
        AUTO_FREE char *text = str_format("cfi.pflash01,drive=%s,end=%llu,id=system.flash%u",
                                          pc->flash[i], (unsigned long long)end, i);
        struct device *dev = NULL;
        int r = device_create_text(m, text, &dev, err);

        if (r < 0) {
            return r;
        }
        end -= m->flash_bytes;
    }
    return 0;
}
