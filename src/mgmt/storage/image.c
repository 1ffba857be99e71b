/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/storage/image.h"

#include "base/bytes.h"
#include "base/str.h"
#include "mgmt/server/lock.h"
#include "os/fd.h"
#include "os/path.h"
#include "os/process.h"
#include "rpc/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

enum {
    HEADER_BYTES = 4096,
    QCOW2_MAGIC = 0x514649fb,
    QCOW2_BACKING_MAX = 1023,
    QCOW2_EXT_BACKING_FORMAT = 0xe2792aca - 0x100000000,
    ARGS_MAX = 64,
    OUTPUT_MAX = 8 << 20,
};

static char *tool; /* owned */

void image_info_done(struct image_info *i)
{
    free(i->backing);
    free(i->backing_format);
    free(i->compat);
    *i = (struct image_info) { 0 };
}

/* Relative to the image that names it. */
static char *absolute(const char *image, const char *name)
{
    const char *slash = strrchr(image, '/');

    if (name[0] == '/' || slash == NULL || strstr(name, "://") != NULL ||
        str_starts(name, "json:")) {
        return strdup(name);
    }
    return str_format("%.*s/%s", (int)(slash - image), image, name);
}

static int qcow2(int fd, const char *path, const uint8_t *h, struct image_info *ret)
{
    uint32_t version = be32_get(h + 4), len = be32_get(h + 16);
    uint64_t at = be64_get(h + 8);
    uint32_t header = version >= 3 ? be32_get(h + 100) : 72;
    uint32_t bits = be32_get(h + 20);

    ret->format = "qcow2";
    ret->virtual_bytes = be64_get(h + 24);
    ret->compat = strdup(version >= 3 ? "1.1" : "0.10");
    ret->cluster_bytes = bits >= 9 && bits <= 21 ? 1ull << bits : 65536;
    ret->encrypted = be32_get(h + 32) != 0;
    if (version >= 3) {
        ret->lazy_refcounts = be64_get(h + 80) & 1;
        ret->extended_l2 = (be64_get(h + 72) >> 4) & 1;
    }
    if (ret->compat == NULL) {
        return -ENOMEM;
    }
    if (at != 0 && len > 0 && len <= QCOW2_BACKING_MAX) {
        AUTO_FREE char *name = calloc(1, len + 1);

        if (name == NULL) {
            return -ENOMEM;
        }
        if (fd_pread_all(fd, name, len, at) < 0) {
            return -EINVAL;
        }
        ret->backing = absolute(path, name);
        if (ret->backing == NULL) {
            return -ENOMEM;
        }
    }
    /* Extensions: type, length, data padded to 8. */
    for (uint32_t i = 0; i < 64 && header >= 72 && header + 8 <= HEADER_BYTES; i++) {
        uint32_t type = be32_get(h + header), n = be32_get(h + header + 4);

        if (type == 0 || n > HEADER_BYTES || header + 8 + n > HEADER_BYTES) {
            break;
        }
        if (type == (uint32_t)QCOW2_EXT_BACKING_FORMAT && ret->backing_format == NULL) {
            ret->backing_format = strndup((const char *)h + header + 8, n);
        }
        header += 8 + ((n + 7) & ~7u);
    }
    return 0;
}

static const struct {
    const char *format;
    unsigned at;
    const char *magic;
    unsigned len;
} others[] = {
    { "qed", 0, "QED\0", 4 },     { "vdi", 64, "\x7f\x10\xda\xbe", 4 },
    { "vmdk", 0, "KDMV", 4 },     { "vpc", 0, "conectix", 8 },
    { "vhdx", 0, "vhdxfile", 8 }, { "luks", 0, "LUKS\xba\xbe", 6 },
    { "iso", 32769, "CD001", 5 },
};

int image_probe(const char *path, const char *format, struct image_info *ret)
{
    AUTO_FREE uint8_t *h = calloc(1, HEADER_BYTES);
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    ssize_t n;

    *ret = (struct image_info) { .format = "raw" };
    if (h == NULL) {
        return -ENOMEM;
    }
    if (fd < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    if (S_ISDIR(st.st_mode)) {
        ret->format = "dir";
        return 0;
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        return -EINVAL;
    }
    ret->allocated_bytes = (uint64_t)st.st_blocks * 512;
    ret->physical_bytes = (uint64_t)st.st_size;
    if (S_ISBLK(st.st_mode)) {
        uint64_t size = 0;

        if (ioctl(fd, BLKGETSIZE64, &size) == 0) {
            ret->physical_bytes = ret->allocated_bytes = size;
        }
    }
    ret->virtual_bytes = ret->physical_bytes;
    n = pread(fd, h, HEADER_BYTES, 0);
    if (n < 0) {
        return -errno;
    }
    if ((format == NULL || str_eq(format, "qcow2")) && n >= 104 && be32_get(h) == QCOW2_MAGIC &&
        be32_get(h + 4) >= 2 && be32_get(h + 4) <= 3) {
        return qcow2(fd, path, h, ret);
    }
    if (format != NULL) {
        ret->format = format;
        return 0;
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        uint8_t magic[8];

        if (pread(fd, magic, others[i].len, others[i].at) == (ssize_t)others[i].len &&
            memcmp(magic, others[i].magic, others[i].len) == 0) {
            ret->format = others[i].format;
        }
    }
    return 0;
}

void image_set_tool(const char *path)
{
    free(tool);
    tool = strdup(path);
}

char *image_tool(void)
{
    char *p;

    if (tool != NULL) {
        return strdup(tool);
    }
    p = path_find_program("vireo-img");
    return p != NULL ? p : path_find_program("qemu-img");
}

int image_run(const char *const *args, char **ret_out, struct err **err)
{
    const char *argv[ARGS_MAX + 2];
    AUTO_FREE char *program = image_tool();
    AUTO_FREE char *out = NULL;
    size_t n = 1;
    int r;

    if (program == NULL) {
        return fault(err, DOM_STORAGE, INTERNAL_ERROR,
                     "unable to find an image program (vireo-img or "
                     "qemu-img)");
    }
    argv[0] = program;
    while (*args != NULL && n < ARGS_MAX) {
        argv[n++] = *args++;
    }
    argv[n] = NULL;
    {
        CLEANUP(err_freep) struct err *own = NULL;

        UNLOCKED(r = process_capture(argv, OUTPUT_MAX, &out, &own));
        if (r < 0) {
            return fault(err, DOM_STORAGE, INTERNAL_ERROR, "%s",
                         own != NULL ? own->text : "image program failed");
        }
    }
    if (ret_out != NULL) {
        *ret_out = TAKE_PTR(out);
    }
    return 0;
}
