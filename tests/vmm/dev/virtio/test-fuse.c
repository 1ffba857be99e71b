/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/virtio/fuse.h"

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct share {
    char dir[32];
    struct fuse *f;
    uint8_t out[8192];
    uint8_t in[8192];
};

static void share_init(struct share *s, bool read_only)
{
    char path[64];
    int fd;

    memset(s, 0, sizeof(*s));
    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/vireo-fuse-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(path, sizeof(path), "%s/file", s->dir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(write(fd, "hello", 5), 5);
    (void)close(fd);
    assert_int_equal(fuse_new(s->dir, read_only, &s->f, NULL), 0);
}

static void share_done(struct share *s)
{
    char path[64];
    static const char *const names[] = { "file", "new" };

    (void)fuse_free(s->f);
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", s->dir, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(s->dir), 0);
}

/* Returns the answer's error; the body is at s->in + 16. */
static int ask(struct share *s, uint32_t op, uint64_t node, const void *arg, size_t len)
{
    struct fuse_in_header h = {
        .len = (uint32_t)(sizeof(h) + len), .opcode = op, .unique = 7, .nodeid = node
    };
    struct fuse_out_header answer;
    struct iovec out = { s->out, sizeof(h) + len };
    struct iovec in = { s->in, sizeof(s->in) };

    memcpy(s->out, &h, sizeof(h));
    memcpy(s->out + sizeof(h), arg, len);
    if (fuse_serve(s->f, &out, 1, &in, 1) == 0) {
        return 1;
    }
    memcpy(&answer, s->in, sizeof(answer));
    assert_int_equal(answer.unique, 7);
    return answer.error;
}

static uint64_t look_up(struct share *s, const char *name)
{
    struct fuse_entry_out e;
    int r = ask(s, FUSE_LOOKUP, FUSE_ROOT_ID, name, strlen(name) + 1);

    memcpy(&e, s->in + 16, sizeof(e));
    return r == 0 ? e.nodeid : 0;
}

static void test_read(void **state)
{
    struct share s;
    struct fuse_open_in open_in = { .flags = O_RDONLY };
    struct fuse_open_out opened;
    struct fuse_read_in read_in = { .size = 100 };
    uint64_t node;

    (void)state;
    share_init(&s, true);
    node = look_up(&s, "file");
    assert_int_not_equal(node, 0);
    assert_int_equal(ask(&s, FUSE_OPEN, node, &open_in, sizeof(open_in)), 0);
    memcpy(&opened, s.in + 16, sizeof(opened));
    read_in.fh = opened.fh;
    assert_int_equal(ask(&s, FUSE_READ, node, &read_in, sizeof(read_in)), 0);
    assert_memory_equal(s.in + 16, "hello", 5);
    read_in.fh = 12345;
    assert_int_equal(ask(&s, FUSE_READ, node, &read_in, sizeof(read_in)), -EBADF);
    share_done(&s);
}

static void test_names_stay_inside(void **state)
{
    struct share s;

    (void)state;
    share_init(&s, true);
    assert_int_equal(ask(&s, FUSE_LOOKUP, FUSE_ROOT_ID, "..", 3), -EINVAL);
    assert_int_equal(ask(&s, FUSE_LOOKUP, FUSE_ROOT_ID, "../etc/passwd", 14), -EINVAL);
    assert_int_equal(ask(&s, FUSE_LOOKUP, FUSE_ROOT_ID, "/etc", 5), -EINVAL);
    assert_int_equal(ask(&s, FUSE_LOOKUP, FUSE_ROOT_ID, "file", 4), -EINVAL); /* no NUL */
    assert_int_equal(ask(&s, FUSE_LOOKUP, FUSE_ROOT_ID, "", 1), -EINVAL);
    assert_int_equal(ask(&s, FUSE_LOOKUP, 99, "file", 5), -ESTALE);
    share_done(&s);
}

static void test_read_only(void **state)
{
    struct share s;
    struct fuse_open_in open_in = { .flags = O_RDWR };
    struct {
        struct fuse_create_in h;
        char name[4];
    } create = { .h = { .flags = O_RDWR, .mode = 0600 }, .name = "new" };

    (void)state;
    share_init(&s, true);
    assert_int_equal(ask(&s, FUSE_CREATE, FUSE_ROOT_ID, &create, sizeof(create)), -EROFS);
    assert_int_equal(ask(&s, FUSE_UNLINK, FUSE_ROOT_ID, "file", 5), -EROFS);
    assert_int_equal(ask(&s, FUSE_OPEN, look_up(&s, "file"), &open_in, sizeof(open_in)), -EROFS);
    share_done(&s);
}

static void test_write(void **state)
{
    struct share s;
    struct {
        struct fuse_create_in h;
        char name[4];
    } create = { .h = { .flags = O_RDWR, .mode = 0600 }, .name = "new" };
    struct {
        struct fuse_entry_out e;
        struct fuse_open_out o;
    } made;
    struct {
        struct fuse_write_in h;
        char data[8];
    } put = { .h = { .size = 8 }, .data = "written" };
    struct fuse_read_in get = { .size = 100 };

    (void)state;
    share_init(&s, false);
    assert_int_equal(ask(&s, FUSE_CREATE, FUSE_ROOT_ID, &create, sizeof(create)), 0);
    memcpy(&made, s.in + 16, sizeof(made));
    put.h.fh = get.fh = made.o.fh;
    assert_int_equal(ask(&s, FUSE_WRITE, made.e.nodeid, &put, sizeof(put)), 0);
    assert_int_equal(ask(&s, FUSE_READ, made.e.nodeid, &get, sizeof(get)), 0);
    assert_string_equal((char *)s.in + 16, "written");
    share_done(&s);
}

static void test_forget(void **state)
{
    struct share s;
    uint64_t node;
    uint64_t times = 2;

    (void)state;
    share_init(&s, true);
    node = look_up(&s, "file");
    assert_int_equal(look_up(&s, "file"), node);
    assert_int_equal(ask(&s, FUSE_FORGET, node, &times, sizeof(times)), 1); /* no answer */
    assert_int_equal(ask(&s, FUSE_GETATTR, node, "", 0), -ESTALE);
    assert_int_equal(ask(&s, FUSE_GETXATTR, FUSE_ROOT_ID, "", 0), -ENOSYS);
    share_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),      cmocka_unit_test(test_names_stay_inside),
        cmocka_unit_test(test_read_only), cmocka_unit_test(test_write),
        cmocka_unit_test(test_forget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
