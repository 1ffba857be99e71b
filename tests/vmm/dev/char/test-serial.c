/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "../../board.h"
#include "os/fd.h"
#include "unit.h"
#include "vmm/char/chardev.h"

#include <stdio.h>
#include <unistd.h>

static void test_output_and_identity(void **state)
{
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    AUTO_FREE char *text = NULL;
    char path[] = "/tmp/vireo-serial-XXXXXX";
    int fd = mkstemp(path);
    AUTO_FREE char *opts = NULL;
    struct board b;
    size_t len;

    (void)state;
    board_init(&b);
    assert_true(asprintf(&opts, "file,id=c,path=%s", path) > 0);
    assert_int_equal(keyval_parse(opts, "backend", true, &kv, NULL), 0);
    assert_int_equal(chardev_add(b.m, kv, NULL, NULL), 0);
    assert_non_null(board_add(&b, "isa-serial,chardev=c"));
    assert_null(board_add(&b, "isa-serial,index=1,chardev=c")); /* in use */
    assert_null(board_add(&b, "isa-serial,index=9"));
    board_outb(&b, 0x3ff, 0x5a); /* scratch */
    assert_int_equal(board_inb(&b, 0x3ff), 0x5a);
    assert_int_equal(board_inb(&b, 0x3fd), 0x60);
    board_outb(&b, 0x3fa, 1);
    assert_int_equal(board_inb(&b, 0x3fa), 0xc1);
    board_outb(&b, 0x3f9, 2); /* transmitter empty: at once */
    assert_int_equal(b.line[4], 1);
    assert_int_equal(board_inb(&b, 0x3fa), 0xc2);
    assert_int_equal(b.line[4], 0);
    board_outb(&b, 0x3f8, 'o');
    board_outb(&b, 0x3f8, 'k');
    machine_free_devices(b.m);
    chardev_free_all(b.m);
    assert_int_equal(file_slurp(path, 100, &text, &len), 0);
    assert_string_equal(text, "ok");
    (void)close(fd);
    (void)unlink(path);
    board_done(&b);
}

static void test_loopback_fifo(void **state)
{
    struct board b;

    (void)state;
    board_init(&b);
    assert_non_null(board_add(&b, "isa-serial"));
    board_outb(&b, 0x3fa, 1);
    board_outb(&b, 0x3fc, 0x10);
    board_outb(&b, 0x3f9, 1);
    for (unsigned i = 0; i < 20; i++) {
        board_outb(&b, 0x3f8, i);
    }
    assert_int_equal(b.line[4], 1);
    assert_int_equal(board_inb(&b, 0x3fd) & 3, 3); /* data, and an overrun */
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(board_inb(&b, 0x3f8), i);
    }
    assert_int_equal(board_inb(&b, 0x3fd) & 1, 0);
    assert_int_equal(b.line[4], 0);
    board_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_output_and_identity),
                                        cmocka_unit_test(test_loopback_fifo) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
