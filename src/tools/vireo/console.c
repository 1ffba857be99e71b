/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/vireo/console.h"

#include "os/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <libxml/parser.h>
#include <poll.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>

enum { COPY_BYTES = 65536, WAIT_MS = 50 };

/* Both ways until the escape key, or until the guest is gone. */
static void copy_both(struct vireo_connect *c, struct vireo_stream *s, char escape)
{
    char buf[4096];

    for (;;) {
        struct pollfd p[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
                               { .fd = vireo_connect_fd(c), .events = POLLIN } };
        ssize_t n = vireo_stream_recv(s, buf, sizeof(buf), 0, NULL);

        if (n > 0) {
            (void)!fd_write_all(STDOUT_FILENO, buf, (size_t)n);
            continue;
        }
        if (n != -EAGAIN) {
            return;
        }
        if (poll(p, 2, WAIT_MS) < 0 && errno != EINTR) {
            return;
        }
        if (p[0].revents != 0) {
            n = read(STDIN_FILENO, buf, sizeof(buf));
            if (n <= 0 || memchr(buf, escape, (size_t)n) != NULL ||
                vireo_stream_send(s, buf, (size_t)n) < 0) {
                return;
            }
        }
    }
}

int console_run(struct shell *sh, const struct vireo_domain *d, const char *device, uint32_t flags,
                bool resume)
{
    AUTO_RET struct vireo_domain_get_state_ret *state = NULL;
    struct vireo_stream *s;
    struct termios old, raw;

    if (vireo_domain_get_state(sh->conn, d, 0, &state) < 0) {
        return fail_last();
    }
    if (state->state == 5) {
        return error("The domain is not running");
    }
    if (!isatty(STDIN_FILENO)) {
        return error("Cannot run interactive console without a controlling TTY");
    }
    printf("Connected to domain '%s'\nEscape character is ^%c", d->name, sh->escape | 0x40);
    printf(" (Ctrl + %c)\n", sh->escape | 0x40);
    (void)fflush(stdout);
    if (vireo_domain_open_console(sh->conn, d, device, flags, &s) < 0) {
        return fail_last();
    }
    (void)tcgetattr(STDIN_FILENO, &old);
    raw = old;
    cfmakeraw(&raw);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
    if (resume) {
        (void)vireo_domain_resume(sh->conn, d);
    }
    copy_both(sh->conn, s, (char)(sh->escape & 0x1f));
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
    vireo_stream_abort(s);
    vireo_stream_free(s);
    printf("\n");
    return 0;
}

static int receive(struct vireo_stream *s, int fd)
{
    AUTO_FREE char *buf = malloc(COPY_BYTES);
    uint64_t hole;
    ssize_t n;

    while (buf != NULL &&
           ((n = vireo_stream_recv(s, buf, COPY_BYTES, -1, &hole)) > 0 || hole > 0)) {
        if (hole > 0
                ? lseek(fd, (off_t)hole, SEEK_CUR) < 0 || ftruncate(fd, lseek(fd, 0, SEEK_CUR)) < 0
                : fd_write_all(fd, buf, (size_t)n) < 0) {
            vireo_stream_abort(s);
            return -errno;
        }
    }
    return buf == NULL ? -ENOMEM : n < 0 ? 1 : vireo_stream_finish(s) < 0 ? 1 : 0;
}

int stream_to_file(struct vireo_stream *s, const char *file)
{
    AUTO_FD int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    int r;

    if (fd < 0) {
        r = error("cannot create %s", file);
        vireo_stream_abort(s);
        vireo_stream_free(s);
        return r;
    }
    r = receive(s, fd);
    vireo_stream_free(s);
    return r == 0  ? 0
           : r > 0 ? fail("cannot receive data from volume")
                   : error("cannot write '%s': %s", file, strerror(-r));
}

int stream_to_image(struct shell *sh, struct vireo_stream *s, const char *domain, const char *mime,
                    const char *file)
{
    AUTO_FREE char *own = NULL;
    AUTO_FD int fd = -1;
    int r;

    if (file == NULL) {
        const char *ending = str_eq(mime, "image/png")                 ? ".png"
                             : str_eq(mime, "image/x-portable-pixmap") ? ".ppm"
                                                                       : "";
        char when[64];
        time_t now = time(NULL);
        struct tm tm;

        (void)strftime(when, sizeof(when), "%Y-%m-%d-%H:%M:%S", localtime_r(&now, &tm));
        own = str_format("%s-%s%s", domain, when, ending);
        file = own;
    }
    fd = file != NULL ? open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (fd < 0) {
        r = error("cannot create file %s", file != NULL ? file : "");
        vireo_stream_abort(s);
        vireo_stream_free(s);
        return r;
    }
    r = receive(s, fd);
    vireo_stream_free(s);
    if (r != 0) {
        (void)unlink(file);
        return r > 0 ? fail("could not receive data from domain %s", domain)
                     : error("cannot write '%s': %s", file, strerror(-r));
    }
    extra(sh, "Screenshot saved to %s, with type of %s", file, mime);
    return 0;
}

/* One hole or one run of data from at on. */
static int send_part(int fd, uint64_t *at, uint64_t end, bool sparse, struct vireo_stream *s,
                     char *buf)
{
    off_t data = sparse ? lseek(fd, (off_t)*at, SEEK_DATA) : (off_t)*at, hole;

    if (data < 0) {
        data = (off_t)end; /* nothing but a hole is left */
    }
    if ((uint64_t)data > *at) {
        uint64_t len = ((uint64_t)data < end ? (uint64_t)data : end) - *at;

        *at += len;
        return vireo_stream_send_hole(s, len);
    }
    hole = sparse ? lseek(fd, (off_t)*at, SEEK_HOLE) : (off_t)end;
    while (*at < end && *at < (uint64_t)hole) {
        uint64_t want = (uint64_t)hole < end ? (uint64_t)hole : end;
        ssize_t n = pread(fd, buf, want - *at < COPY_BYTES ? want - *at : COPY_BYTES, (off_t)*at);

        if (n <= 0) {
            return n < 0 ? -errno : 1;
        }
        if (vireo_stream_send(s, buf, (size_t)n) < 0) {
            return -EIO;
        }
        *at += (uint64_t)n;
    }
    return 0;
}

int file_to_stream(const char *file, uint64_t length, bool sparse, struct vireo_stream *s)
{
    AUTO_FD int fd = open(file, O_RDONLY | O_CLOEXEC);
    AUTO_FREE char *buf = malloc(COPY_BYTES);
    struct stat st;
    uint64_t at = 0, end;
    int r = fd < 0 || buf == NULL || fstat(fd, &st) < 0 ? -errno : 0;

    if (r < 0) {
        vireo_stream_abort(s);
        vireo_stream_free(s);
        return error("cannot read %s", file);
    }
    end = length > 0 && length < (uint64_t)st.st_size ? length : (uint64_t)st.st_size;
    while (r == 0 && at < end) {
        r = send_part(fd, &at, end, sparse, s, buf);
    }
    if (r < 0) {
        vireo_stream_abort(s);
    }
    r = r < 0 ? -1 : vireo_stream_finish(s);
    vireo_stream_free(s);
    return r < 0 ? fail("cannot send data to volume") : 0;
}

/* ---- undefine --storage ---- */

static bool listed(const char *which, const char *target, const char *source)
{
    AUTO_FREE char *copy = which != NULL ? strdup(which) : NULL;

    for (char *rest = copy; rest != NULL && *rest != '\0';) {
        const char *p = strsep(&rest, ",");

        if ((target != NULL && str_eq(p, target)) || (source != NULL && str_eq(p, source))) {
            return true;
        }
    }
    return which == NULL;
}

static int remove_one(struct shell *sh, const char *target, const char *source)
{
    AUTO_RET struct vireo_storage_vol_lookup_by_path_ret *v = NULL;

    if (vireo_storage_vol_lookup_by_path(sh->conn, source, &v) < 0) {
        (void)printf("Storage volume '%s'(%s) is not managed by libvirt. Remove it manually.\n",
                     target, source);
        return 0;
    }
    if (vireo_storage_vol_delete(sh->conn, &v->vol, 0) < 0) {
        return fail("Failed to remove storage volume '%s'(%s)", target, source);
    }
    printf("Volume '%s'(%s) removed.\n", target, source);
    return 0;
}

static char *child_attr(xmlNode *n, const char *child, const char *attr)
{
    for (xmlNode *c = n->children; c != NULL; c = c->next) {
        if (c->type == XML_ELEMENT_NODE && str_eq((const char *)c->name, child)) {
            xmlChar *v = xmlGetProp(c, (const xmlChar *)attr);
            char *copy = v != NULL ? strdup((const char *)v) : NULL;

            xmlFree(v);
            return copy;
        }
    }
    return NULL;
}

int remove_volumes(struct shell *sh, const char *domain_xml, const char *which)
{
    xmlDoc *doc = xmlReadMemory(domain_xml, (int)strlen(domain_xml), NULL, NULL,
                                XML_PARSE_NONET | XML_PARSE_NOERROR);
    xmlNode *n = doc != NULL ? xmlDocGetRootElement(doc) : NULL;
    int r = 0;

    for (n = n != NULL ? n->children : NULL; n != NULL && !str_eq((const char *)n->name, "devices");
         n = n->next) {
    }
    for (n = n != NULL ? n->children : NULL; n != NULL; n = n->next) {
        AUTO_FREE char *target = NULL, *source = NULL;

        if (!str_eq((const char *)n->name, "disk")) {
            continue;
        }
        target = child_attr(n, "target", "dev");
        source = child_attr(n, "source", "file");
        if (source != NULL && target != NULL && listed(which, target, source)) {
            r |= remove_one(sh, target, source);
        }
    }
    xmlFreeDoc(doc);
    return r;
}
