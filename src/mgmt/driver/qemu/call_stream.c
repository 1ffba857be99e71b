/* SPDX-License-Identifier: GPL-2.0-or-later */
/* call_stream.c - console and channel streams, screenshots, a display by descriptor. */
#include "mgmt/daemon/calls.h"
#include "mgmt/driver/qemu/handlers.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/model/domain/domain.h"
#include "mgmt/server/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>

enum { CONSOLE_FORCE = 1, CONSOLE_SAFE = 2 };

/* Who holds which console; an open one is freed with its stream. */
struct holder {
    struct list link;
    char *path; /* owned */
    struct stream *stream;
    struct client *client;
};
static struct list holders = LIST_INIT(holders);

static void release(void *arg, bool aborted)
{
    struct holder *h = arg;

    (void)aborted;
    list_remove(&h->link);
    free(h->path);
    free(h);
}

static struct node *find_char(const struct node *def, const char *name)
{
    static const char *const kinds[] = { "console", "serial", "parallel", "channel" };

    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (struct node *n = node_child(domain_devices(def), kinds[k]); n != NULL;
             n = node_next(n, kinds[k])) {
            if (name == NULL ? k < 2 : node_is(n, "alias/@name", name)) {
                return n;
            }
        }
    }
    return NULL;
}

static int open_char(const struct node *n, struct err **err)
{
    const char *path = node_get(n, "source/@path");
    const char *type = node_attr(n, "type");
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd;

    if (path == NULL || (!str_eq(type, "pty") && !str_eq(type, "unix"))) {
        return fault(err, DOM_QEMU, INTERNAL_ERROR,
                     "character device %s is not using a PTY or UNIX socket",
                     node_get(n, "alias/@name") ? node_get(n, "alias/@name") : "<null>");
    }
    if (str_eq(type, "pty")) {
        struct termios t;

        fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 && tcgetattr(fd, &t) == 0) {
            cfmakeraw(&t);
            (void)tcsetattr(fd, TCSANOW, &t);
        }
        return fd >= 0 ? fd : err_set(err, errno, "unable to open '%s': %s", path, strerror(errno));
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || strlen(path) >= sizeof(sa.sun_path)) {
        close_fdp(&fd);
        return err_set(err, EINVAL, "cannot connect to '%s'", path);
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
        int e = errno;

        (void)close(fd);
        return err_set(err, e, "cannot connect to '%s': %s", path, strerror(e));
    }
    return fd;
}

static int open_stream(struct call *call, const struct remote_domain *wire, const char *name,
                       unsigned flags, bool channel, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct stream_spec spec = { .fd_read = -1, .fd_write = -1, .end = release };
    struct node *n;
    struct holder *h;
    const char *path;
    int r = domain_of_call(call, wire, &d, err);

    r = r == 0 ? domain_check_active(d, err) : r;
    if (r < 0) {
        return r;
    }
    n = channel && name == NULL ? node_child(domain_devices(d->def), "channel")
                                : find_char(d->def, name);
    if (n == NULL) {
        return name != NULL ? fault(err, DOM_QEMU, INVALID_ARG, "cannot find %s device %s",
                                    channel ? "channel" : "character", name)
                            : fault(err, DOM_QEMU, INTERNAL_ERROR, "cannot find %s device %s",
                                    channel ? "channel" : "character", "<null>");
    }
    path = node_get(n, "source/@path");
    LIST_FOREACH_SAFE (&holders, it) {
        struct holder *o = CONTAINER_OF(it, struct holder, link);

        if (path == NULL || !str_eq(o->path, path)) {
            continue;
        }
        if (!(flags & CONSOLE_FORCE)) {
            return fault(err, DOM_QEMU, OPERATION_FAILED,
                         "Active console session exists for this domain");
        }
        if (o->stream != NULL) {
            CLEANUP(err_freep) struct err *taken = NULL;

            (void)fault(&taken, DOM_STREAMS, OPERATION_ABORTED,
                        "the console was opened by another client");
            stream_abort(o->stream, taken);
        }
    }
    spec.fd_read = open_char(n, err);
    if (spec.fd_read < 0) {
        return spec.fd_read;
    }
    spec.fd_write = spec.fd_read;
    h = calloc(1, sizeof(*h));
    if (h == NULL || (h->path = strdup(path)) == NULL) {
        free(h);
        (void)close(spec.fd_read);
        return -ENOMEM;
    }
    list_append(&holders, &h->link);
    spec.arg = h;
    r = stream_new(call, &spec, err);
    if (r == 0) {
        h->stream = call->stream;
    }
    return r;
}

int qemu_domain_open_console(struct call *call, const struct remote_domain_open_console_args *args,
                             struct err **err)
{
    return open_stream(call, &args->dom, args->dev_name, args->flags, false, err);
}

int qemu_domain_open_channel(struct call *call, const struct remote_domain_open_channel_args *args,
                             struct err **err)
{
    return open_stream(call, &args->dom, args->name, args->flags, true, err);
}

int qemu_domain_screenshot(struct call *call, const struct remote_domain_screenshot_args *args,
                           struct remote_domain_screenshot_ret *ret, struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    AUTO_FREE char *path = NULL;
    struct stream_spec spec = { .fd_read = -1, .fd_write = -1, .regular = true };
    struct json_object *a;
    bool png = true;
    int r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_job_begin(d, call_api_name(call), err) : r;
    if (r < 0) {
        return r;
    }
    r = domain_check_active(d, err);
    if (r == 0 && node_child(domain_devices(d->def), "video") == NULL) {
        r = fault(err, DOM_QEMU, OPERATION_INVALID, "no such screen %u", args->screen);
    }
    if (r == 0) {
        path = str_format("%s/screenshot.%u", run_of(d)->dir, call->header.serial);
        a = json_object_new_object();
        (void)json_add_str(a, "filename", path);
        (void)json_add_str(a, "format", "png");
        r = monitor_run(run_of(d)->qmp, "screendump", a, NULL, NULL);
        if (r < 0) {
            png = false;
            a = json_object_new_object();
            (void)json_add_str(a, "filename", path);
            r = monitor_run(run_of(d)->qmp, "screendump", a, NULL, err);
        }
    }
    domain_job_end(d);
    if (r < 0) {
        return r;
    }
    spec.fd_read = open(path, O_RDONLY | O_CLOEXEC);
    (void)unlink(path);
    if (spec.fd_read < 0) {
        return err_set(err, errno, "unable to open screenshot: %s", strerror(errno));
    }
    ret->mime = arena_strdup(&call->arena, png ? "image/png" : "image/x-portable-pixmap");
    return stream_new(call, &spec, err);
}

int qemu_domain_open_graphics_fd(struct call *call,
                                 const struct remote_domain_open_graphics_fd_args *args,
                                 struct err **err)
{
    AUTO_DOMAIN struct domain *d = NULL;
    struct node *g = NULL;
    struct json_object *a;
    const char *type;
    unsigned i = 0;
    int pair[2], r = domain_of_call(call, &args->dom, &d, err);

    r = r == 0 ? domain_job_begin(d, call_api_name(call), err) : r;
    if (r < 0) {
        return r;
    }
    r = domain_check_active(d, err);
    if (r == 0) {
        for (g = node_child(domain_devices(d->def), "graphics"); g != NULL && i < args->idx;
             g = node_next(g, "graphics")) {
            i++;
        }
        if (g == NULL) {
            r = fault(err, DOM_QEMU, INTERNAL_ERROR, "No graphics backend with index %u",
                      args->idx);
        }
    }
    if (r == 0) {
        type = node_attr(g, "type");
        if (!str_eq(type, "vnc") && !str_eq(type, "spice")) {
            r = fault(err, DOM_QEMU, INTERNAL_ERROR,
                      "Can only open VNC or SPICE graphics backends, not %s", type);
        } else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
            r = -errno;
        } else {
            a = json_object_new_object();
            (void)json_add_str(a, "fdname", "graphicsfd");
            r = monitor_run_fd(run_of(d)->qmp, "getfd", a, pair[1], MONITOR_WAIT_USEC, NULL, err);
            (void)close(pair[1]);
            if (r == 0) {
                a = json_object_new_object();
                (void)json_add_str(a, "protocol", type);
                (void)json_add_str(a, "fdname", "graphicsfd");
                (void)json_add_bool(a, "skipauth", (args->flags & 1) != 0);
                r = monitor_run(run_of(d)->qmp, "add_client", a, NULL, err);
            }
            if (r == 0) {
                call->reply_fd = pair[0];
            } else {
                (void)close(pair[0]);
            }
        }
    }
    domain_job_end(d);
    return r;
}
