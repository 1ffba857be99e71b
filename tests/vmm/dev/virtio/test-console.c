/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports of the console device: what the guest has written arrives, whatever comes next. */
#include "vmm/dev/virtio/virtio.h"

#include "../../board.h"
#include "base/bytes.h"
#include "unit.h"
#include "vmm/char/chardev.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { QUEUE_TX0 = 1, DESC = 0x1000, AVAIL = 0x2000, USED = 0x3000, TEXT = 0x4000 };

static void put(struct board *b, unsigned reg, uint32_t v)
{
    iobus_write(&b->m->mmio, BOARD_VIRTIO_GPA + reg, v, 4);
}

/* A driver that is ready, and has one buffer with text in port 0's queue, but has not told so. */
static void write_quietly(struct board *b, const char *text)
{
    uint8_t *ram = gmem_map(&b->m->mem, 0, BOARD_RAM, true);

    put(b, 0x70, 1 | 2);
    put(b, 0x24, 1);
    put(b, 0x20, 1); /* VERSION_1 */
    put(b, 0x70, 1 | 2 | 8);
    put(b, 0x30, QUEUE_TX0);
    put(b, 0x38, 4);
    put(b, 0x80, DESC);
    put(b, 0x90, AVAIL);
    put(b, 0xa0, USED);
    put(b, 0x44, 1);
    put(b, 0x70, 1 | 2 | 8 | 4);
    memcpy(ram + TEXT, text, strlen(text));
    le64_put(ram + DESC, TEXT);
    le32_put(ram + DESC + 8, (uint32_t)strlen(text));
    le16_put(ram + AVAIL + 2, 1);
}

static void test_reset_keeps_last_words(void **state)
{
    char path[] = "/tmp/test-console-XXXXXX", option[96], got[32] = "";
    CLEANUP(keyval_freep) struct keyval *kv = NULL;
    struct chardev *chr;
    struct board b;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    board_init(&b);
    (void)snprintf(option, sizeof(option), "file,id=c,path=%s", path);
    assert_int_equal(keyval_parse(option, "backend", false, &kv, NULL), 0);
    assert_int_equal(chardev_add(b.m, kv, &chr, NULL), 0);
    assert_non_null(board_add(&b, "virtio-serial-device"));
    assert_non_null(board_add(&b, "virtconsole,chardev=c"));
    write_quietly(&b, "exit 7\n");
    assert_int_equal(read(fd, got, sizeof(got)), 0);
    put(&b, 0x70, 0); /* as Linux does at power-off */
    assert_int_equal(read(fd, got, sizeof(got) - 1), 7);
    assert_string_equal(got, "exit 7\n");
    machine_free_devices(b.m);
    chardev_free_all(b.m);
    board_done(&b);
    (void)close(fd);
    (void)unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset_keeps_last_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
