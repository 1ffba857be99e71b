/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/misc/fw_cfg.h"

#include "../../board.h"
#include "base/bytes.h"
#include "unit.h"

static void select_key(struct board *b, unsigned key)
{
    iobus_write(&b->m->pio, 0x510, key, 2);
}

static void test_bytes(void **state)
{
    struct board b;
    struct device *fw;
    char sig[5] = { 0 };

    (void)state;
    board_init(&b);
    fw = board_add(&b, "fw_cfg_io");
    select_key(&b, FW_CFG_SIGNATURE);
    for (unsigned i = 0; i < 4; i++) {
        sig[i] = (char)board_inb(&b, 0x511);
    }
    assert_string_equal(sig, "QEMU");
    assert_int_equal(board_inb(&b, 0x511), 0); /* behind the end */
    select_key(&b, 0x3333);
    assert_int_equal(board_inb(&b, 0x511), 0);
    assert_int_equal(fw_cfg_add_file(fw, "opt/a", "xyz", 3, NULL), 0);
    select_key(&b, FW_CFG_FILE_DIR);
    assert_int_equal(board_inb(&b, 0x511) | board_inb(&b, 0x511), 0);
    assert_int_equal(board_inb(&b, 0x511), 0);
    assert_int_equal(board_inb(&b, 0x511), 1);
    board_done(&b);
}

static uint32_t dma(struct board *b, uint32_t control, uint32_t len, uint64_t to)
{
    uint8_t *ram = gmem_map(&b->m->mem, 0, BOARD_RAM, true);

    be32_put(ram + 0x100, control);
    be32_put(ram + 0x104, len);
    be64_put(ram + 0x108, to);
    iobus_write(&b->m->pio, 0x518, __builtin_bswap32(0x100), 4);
    return be32_get(ram + 0x100);
}

static void test_dma(void **state)
{
    struct board b;
    uint8_t *ram;

    (void)state;
    board_init(&b);
    assert_non_null(board_add(&b, "fw_cfg_io"));
    ram = gmem_map(&b.m->mem, 0, BOARD_RAM, true);
    assert_int_equal(dma(&b, 8 | 2 | FW_CFG_SIGNATURE << 16, 8, 0x200), 0);
    assert_memory_equal(ram + 0x200, "QEMU\0\0\0\0", 8);
    assert_int_equal(dma(&b, 8 | 4, 2, 0), 0);
    assert_int_equal(dma(&b, 2, 2, 0x300), 0);
    assert_memory_equal(ram + 0x300, "MU", 2);
    assert_int_equal(dma(&b, 2, 16, BOARD_RAM - 8), 1); /* leaves memory */
    assert_int_equal(dma(&b, 2, UINT32_MAX, 0), 1);
    assert_int_equal(dma(&b, 16, 4, 0x200), 1); /* nothing can be written */
    board_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_bytes), cmocka_unit_test(test_dma) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
