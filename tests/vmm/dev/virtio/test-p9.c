/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/dev/virtio/p9.h"

#include "base/bytes.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOPEN = 12,
    LCREATE = 14,
    READDIR = 40,
    MKDIR = 72,
    UNLINKAT = 76,
    VERSION = 100,
    ATTACH = 104
};
enum { WALK = 110, READ = 116, WRITE = 118, CLUNK = 120, GETATTR = 24, SYMLINK = 16, MKNOD = 18 };

struct share {
    char dir[32];
    struct p9 *p;
    uint8_t out[8192];
    uint8_t in[8192];
    size_t len; /* of out */
};

static void put1(struct share *s, uint8_t v)
{
    s->out[s->len++] = v;
}

static void put2(struct share *s, uint16_t v)
{
    le16_put(s->out + s->len, v);
    s->len += 2;
}

static void put4(struct share *s, uint32_t v)
{
    le32_put(s->out + s->len, v);
    s->len += 4;
}

static void put8(struct share *s, uint64_t v)
{
    le64_put(s->out + s->len, v);
    s->len += 8;
}

static void put_text(struct share *s, const char *text)
{
    put2(s, (uint16_t)strlen(text));
    memcpy(s->out + s->len, text, strlen(text));
    s->len += strlen(text);
}

static void begin(struct share *s, uint8_t type)
{
    s->len = 4;
    put1(s, type);
    put2(s, 77);
}

/* Returns the answer's error; its body is at s->in + 7. */
static int ask(struct share *s)
{
    struct iovec out = { s->out, s->len };
    struct iovec in = { s->in, sizeof(s->in) };
    size_t n;

    le32_put(s->out, (uint32_t)s->len);
    n = p9_serve(s->p, &out, 1, &in, 1);
    assert_int_equal(n, le32_get(s->in));
    assert_int_equal(le16_get(s->in + 5), 77);
    if (s->in[4] == 7) {
        return (int)le32_get(s->in + 7);
    }
    assert_int_equal(s->in[4], s->out[4] + 1);
    return 0;
}

static void attach(struct share *s, uint32_t fid)
{
    begin(s, VERSION);
    put4(s, 8192);
    put_text(s, "9P2000.L");
    assert_int_equal(ask(s), 0);
    assert_int_equal(le32_get(s->in + 7), 8192);
    assert_memory_equal(s->in + 13, "9P2000.L", 8);
    begin(s, ATTACH);
    put4(s, fid);
    put4(s, ~0u);
    put_text(s, "root");
    put_text(s, "");
    put4(s, getuid());
    assert_int_equal(ask(s), 0);
    assert_int_equal(s->in[7], 0x80); /* a folder's qid */
}

static int walk(struct share *s, uint32_t from, uint32_t to, const char *name)
{
    begin(s, WALK);
    put4(s, from);
    put4(s, to);
    put2(s, name != NULL);
    if (name != NULL) {
        put_text(s, name);
    }
    return ask(s);
}

static int open_fid(struct share *s, uint32_t fid, uint32_t flags)
{
    begin(s, LOPEN);
    put4(s, fid);
    put4(s, flags);
    return ask(s);
}

static int create(struct share *s, uint32_t dir, const char *name)
{
    begin(s, LCREATE);
    put4(s, dir);
    put_text(s, name);
    put4(s, O_RDWR | O_EXCL);
    put4(s, 0640);
    put4(s, getgid());
    return ask(s);
}

static void share_init(struct share *s, bool read_only)
{
    char path[64];
    int fd;

    memset(s, 0, sizeof(*s));
    (void)snprintf(s->dir, sizeof(s->dir), "/tmp/vireo-p9-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(path, sizeof(path), "%s/file", s->dir);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(write(fd, "hello", 5), 5);
    (void)close(fd);
    assert_int_equal(p9_new(s->dir, read_only, &s->p, NULL), 0);
    attach(s, 1);
}

static void share_done(struct share *s)
{
    char path[64];
    static const char *const names[] = { "file", "new", "link", "pipe" };

    (void)p9_free(s->p);
    for (unsigned i = 0; i < 4; i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", s->dir, names[i]);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(s->dir), 0);
}

static void test_read(void **state)
{
    struct share s;

    (void)state;
    share_init(&s, true);
    assert_int_equal(walk(&s, 1, 2, "file"), 0);
    assert_int_equal(open_fid(&s, 2, O_RDONLY), 0);
    begin(&s, READ);
    put4(&s, 2);
    put8(&s, 1);
    put4(&s, 100);
    assert_int_equal(ask(&s), 0);
    assert_int_equal(le32_get(s.in + 7), 4);
    assert_memory_equal(s.in + 11, "ello", 4);
    begin(&s, GETATTR);
    put4(&s, 2);
    put8(&s, 0x7ff);
    assert_int_equal(ask(&s), 0);
    assert_int_equal(le64_get(s.in + 7 + 8 + 13 + 12 + 16), 5); /* size */
    begin(&s, CLUNK);
    put4(&s, 2);
    assert_int_equal(ask(&s), 0);
    assert_int_equal(ask(&s), EBADF);
    share_done(&s);
}

static void test_readdir(void **state)
{
    struct share s;
    uint64_t next;

    (void)state;
    share_init(&s, true);
    assert_int_equal(walk(&s, 1, 2, NULL), 0);
    assert_int_equal(open_fid(&s, 2, O_RDONLY | O_DIRECTORY), 0);
    begin(&s, READDIR);
    put4(&s, 2);
    put8(&s, 0);
    put4(&s, 4000);
    assert_int_equal(ask(&s), 0);
    /* ".", ".." and "file", each qid[13] offset[8] type[1] name[s] */
    assert_int_equal(le32_get(s.in + 7), 3 * 24 + 1 + 2 + 4);
    next = le64_get(s.in + 11 + 13);
    begin(&s, READDIR); /* from after the first */
    put4(&s, 2);
    put8(&s, next);
    put4(&s, 4000);
    assert_int_equal(ask(&s), 0);
    assert_true(le32_get(s.in + 7) < 3 * 24 + 1 + 2 + 4);
    share_done(&s);
}

static void test_write(void **state)
{
    struct share s;
    struct stat st;
    char path[64];

    (void)state;
    share_init(&s, false);
    assert_int_equal(walk(&s, 1, 2, NULL), 0);
    assert_int_equal(create(&s, 2, "new"), 0);
    begin(&s, WRITE);
    put4(&s, 2);
    put8(&s, 0);
    put4(&s, 3);
    memcpy(s.out + s.len, "abc", 3);
    s.len += 3;
    assert_int_equal(ask(&s), 0);
    assert_int_equal(le32_get(s.in + 7), 3);
    (void)snprintf(path, sizeof(path), "%s/new", s.dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 3);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(walk(&s, 1, 3, NULL), 0);
    assert_int_equal(create(&s, 3, "new"), EEXIST);
    begin(&s, UNLINKAT);
    put4(&s, 1);
    put_text(&s, "new");
    put4(&s, 0);
    assert_int_equal(ask(&s), 0);
    assert_int_equal(stat(path, &st), -1);
    share_done(&s);
}

static void test_read_only(void **state)
{
    struct share s;

    (void)state;
    share_init(&s, true);
    assert_int_equal(walk(&s, 1, 2, NULL), 0);
    assert_int_equal(create(&s, 2, "new"), EROFS);
    assert_int_equal(walk(&s, 1, 3, "file"), 0);
    assert_int_equal(open_fid(&s, 3, O_RDWR), EROFS);
    assert_int_equal(open_fid(&s, 3, O_RDONLY | O_TRUNC), EROFS);
    begin(&s, UNLINKAT);
    put4(&s, 1);
    put_text(&s, "file");
    put4(&s, 0);
    assert_int_equal(ask(&s), EROFS);
    share_done(&s);
}

/* Nothing outside the folder is reached, and nothing of the host's but files is opened. */
static void test_hostile(void **state)
{
    static const char *const names[] = { "..", ".", "", "a/b", "/etc" };
    struct share s;

    (void)state;
    share_init(&s, false);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(walk(&s, 1, 2, names[i]), ENOENT);
        assert_int_equal(create(&s, 1, names[i]), EINVAL);
    }
    begin(&s, SYMLINK);
    put4(&s, 1);
    put_text(&s, "link");
    put_text(&s, "/etc/passwd");
    put4(&s, getgid());
    assert_int_equal(ask(&s), 0);
    assert_int_equal(walk(&s, 1, 3, "link"), 0);
    assert_int_not_equal(open_fid(&s, 3, O_RDONLY), 0);
    begin(&s, MKNOD);
    put4(&s, 1);
    put_text(&s, "disk");
    put4(&s, S_IFBLK | 0600);
    put4(&s, 8);
    put4(&s, 0);
    put4(&s, 0);
    assert_int_equal(ask(&s), EPERM);
    begin(&s, MKNOD);
    put4(&s, 1);
    put_text(&s, "pipe");
    put4(&s, S_IFIFO | 0600);
    put4(&s, 0);
    put4(&s, 0);
    put4(&s, getgid());
    assert_int_equal(ask(&s), 0);
    assert_int_equal(walk(&s, 1, 4, "pipe"), 0);
    assert_int_equal(open_fid(&s, 4, O_RDONLY), EACCES); /* and it does not block */
    begin(&s, READ);                                     /* cut short */
    put4(&s, 3);
    assert_int_equal(ask(&s), EBADF);
    begin(&s, 200); /* no such message */
    assert_int_equal(ask(&s), EOPNOTSUPP);
    begin(&s, WALK); /* more names than there are */
    put4(&s, 1);
    put4(&s, 9);
    put2(&s, 16);
    assert_int_equal(ask(&s), ENOENT);
    s.len = 3;
    assert_int_equal(
        p9_serve(s.p, &(struct iovec) { s.out, 3 }, 1, &(struct iovec) { s.in, 100 }, 1), 0);
    share_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),    cmocka_unit_test(test_readdir),
        cmocka_unit_test(test_write),   cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
