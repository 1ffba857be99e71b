/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vnc.c - libvncserver, driven from our loop: we accept connections and hand them over; while there
 * are viewers, a timer refreshes the picture, marks the lines that changed, and lets the library
 * talk.
 */
#include "vmm/ui/vnc.h"

#include "base/log.h"
#include "base/str.h"
#include "codec/keyval.h"
#include "os/dynlib.h"
#include "vmm/machine/machine.h"
#include "vmm/ui/display.h"
#include "vmm/ui/input.h"

#include <errno.h>
#include <netdb.h>
#include <rfb/rfb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

enum {
    REFRESH_USEC = 33000,
    FIRST_PORT = 5900,
    WRITE_PATIENCE_MSEC = 500, /* a viewer that does not read is dropped */
    PASSWORD_BYTES = 8,
};

/* What we use of LibVNCServer; the last three are variables. */
#define FUNCTIONS(X) \
    X(rfbCheckPasswordByList) \
    X(rfbGetScreen) \
    X(rfbInitServerWithPthreadsAndZRLE) \
    X(rfbMarkRectAsModified) \
    X(rfbNewClientConnection) \
    X(rfbNewFramebuffer) \
    X(rfbProcessEvents) \
    X(rfbScreenCleanup) \
    X(rfbShutdownServer) \
    X(rfbLog) \
    X(rfbErr) \
    X(rfbMaxClientWait)

FUNCTIONS(DYNLIB_POINTER)

struct vnc {
    struct machine *m;
    rfbScreenInfoPtr screen;
    int fd; /* owned: listening */
    struct loop_source *source, *timer;
    uint32_t *pixels; /* owned: what viewers have */
    unsigned width, height;
    bool wants_password;
    char password[PASSWORD_BYTES + 1];
    char *passwords[2];
    char *path; /* owned: of a unix socket */
    char host[64];
    char service[16];
    unsigned buttons;
};

const char *vnc_host(const struct vnc *v)
{
    return v->host;
}

const char *vnc_service(const struct vnc *v)
{
    return v->service;
}

static int resize(struct vnc *v, unsigned width, unsigned height)
{
    uint32_t *pixels = calloc((size_t)width * height, sizeof(*pixels));
    uint32_t *old = v->pixels;

    if (pixels == NULL) {
        return -ENOMEM;
    }
    v->pixels = pixels;
    v->width = width;
    v->height = height;
    if (v->screen != NULL) {
        dyn_rfbNewFramebuffer(v->screen, (char *)pixels, (int)width, (int)height, 8, 3, 4);
        v->screen->serverFormat.redShift = 16;
        v->screen->serverFormat.greenShift = 8;
        v->screen->serverFormat.blueShift = 0;
    }
    free(old);
    return 0;
}

static void show(struct vnc *v)
{
    struct display *d = v->m->display;
    unsigned from = 0;
    unsigned to = 0;

    if (d == NULL) {
        return;
    }
    display_refresh(d);
    if (d->pixels == NULL ||
        ((d->width != v->width || d->height != v->height) && resize(v, d->width, d->height) < 0)) {
        return;
    }
    for (unsigned y = 0; y < v->height; y++) {
        uint32_t *mine = v->pixels + (size_t)y * v->width;
        const uint32_t *now = d->pixels + (size_t)y * v->width;

        if (memcmp(mine, now, v->width * sizeof(*now)) != 0) {
            memcpy(mine, now, v->width * sizeof(*now));
            from = to == 0 ? y : from;
            to = y + 1;
        }
    }
    if (to > 0) {
        dyn_rfbMarkRectAsModified(v->screen, 0, (int)from, (int)v->width, (int)to);
    }
}

static void tick(void *arg)
{
    struct vnc *v = arg;

    show(v);
    (void)dyn_rfbProcessEvents(v->screen, 0);
    if (v->screen->clientHead != NULL) {
        (void)loop_timer_arm(v->timer, loop_now_usec() + REFRESH_USEC);
    }
}

void vnc_add_client(struct vnc *v, int fd)
{
    show(v);
    dyn_rfbNewClientConnection(v->screen, fd);
    (void)loop_timer_arm(v->timer, loop_now_usec());
}

static void on_connection(int fd, uint32_t events, void *arg)
{
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)events;
    if (peer >= 0) {
        vnc_add_client(arg, peer);
    }
}

/* ---- from the viewer ---- */

static void on_key(rfbBool down, rfbKeySym sym, rfbClientPtr client)
{
    struct vnc *v = client->screen->screenData;
    bool shift = false;
    unsigned key = input_keysym((uint32_t)sym, &shift);

    if (key != 0) {
        input_key(v->m, key, down != 0);
    }
}

static void on_pointer(int buttons, int x, int y, rfbClientPtr client)
{
    struct vnc *v = client->screen->screenData;
    unsigned mask = ((buttons & 1) != 0 ? INPUT_LEFT : 0u) |
                    ((buttons & 2) != 0 ? INPUT_MIDDLE : 0u) |
                    ((buttons & 4) != 0 ? INPUT_RIGHT : 0u);
    int dz = ((buttons & 8) != 0 ? -1 : 0) + ((buttons & 16) != 0 ? 1 : 0);

    if (v->width > 1 && v->height > 1) {
        input_pointer(v->m, x * INPUT_ABS_MAX / (int)(v->width - 1),
                      y * INPUT_ABS_MAX / (int)(v->height - 1), dz, mask, v->width, v->height);
    }
}

/* With password=on and none set yet nobody comes in. */
static rfbBool check_password(rfbClientPtr client, const char *response, int len)
{
    struct vnc *v = client->screen->screenData;

    return v->password[0] != '\0' && dyn_rfbCheckPasswordByList(client, response, len);
}

int vnc_set_password(struct vnc *v, const char *password, struct err **err)
{
    if (!v->wants_password) {
        return err_set(err, EINVAL, "the VNC server has no passwords: use -vnc ...,password=on");
    }
    memset(v->password, 0, sizeof(v->password));
    memcpy(v->password, password, strnlen(password, PASSWORD_BYTES));
    return 0;
}

/* ---- listening ---- */

static int listen_unix(struct vnc *v, const char *path, struct err **err)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(sa.sun_path)) {
        return err_set(err, ENAMETOOLONG, "'%s' is too long for a socket", path);
    }
    memcpy(sa.sun_path, path, strlen(path));
    (void)unlink(path);
    v->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (v->fd < 0 || bind(v->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(v->fd, 8) < 0) {
        return err_set(err, errno, "cannot listen at '%s': %s", path, strerror(errno));
    }
    v->path = strdup(path);
    (void)snprintf(v->host, sizeof(v->host), "%s", path);
    return 0;
}

static int listen_tcp(struct vnc *v, const char *host, unsigned first, unsigned last,
                      struct err **err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    int why = EADDRINUSE;

    for (unsigned n = first; n <= last; n++) {
        struct addrinfo *list = NULL;

        (void)snprintf(v->service, sizeof(v->service), "%u", FIRST_PORT + n);
        if (getaddrinfo(*host != '\0' ? host : NULL, v->service, &hints, &list) != 0) {
            return err_set(err, ENOENT, "there is no host '%s'", host);
        }
        for (struct addrinfo *ai = list; ai != NULL && v->fd < 0; ai = ai->ai_next) {
            AUTO_FD int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
            int on = 1;

            if (fd >= 0) {
                (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
            }
            if (fd >= 0 && bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, 8) == 0) {
                (void)getnameinfo(ai->ai_addr, ai->ai_addrlen, v->host, sizeof(v->host), NULL, 0,
                                  NI_NUMERICHOST);
                v->fd = TAKE_FD(fd);
            } else {
                why = errno;
            }
        }
        freeaddrinfo(list);
        if (v->fd >= 0) {
            return 0;
        }
    }
    return err_set(err, why, "cannot listen at %s, port %u: %s", *host != '\0' ? host : "*",
                   FIRST_PORT + first, strerror(why));
}

static int start_listening(struct vnc *v, const char *where, unsigned long long to,
                           struct err **err)
{
    const char *colon = strrchr(where, ':');
    AUTO_FREE char *host = NULL;
    uint64_t n;

    if (str_starts(where, "unix:")) {
        return listen_unix(v, where + 5, err);
    }
    if (colon == NULL || str_to_u64(colon + 1, 10, &n) < 0 || n > 59635) {
        return err_set(err, EINVAL, "'%s' is no display: use HOST:N, unix:PATH or none", where);
    }
    host = *where == '[' && colon > where + 1 ? strndup(where + 1, (size_t)(colon - where) - 2)
                                              : strndup(where, (size_t)(colon - where));
    if (host == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    return listen_tcp(v, host, (unsigned)n, (unsigned)(to > n ? to : n), err);
}

static void quiet_log(const char *format, ...)
{
    (void)format;
}

static int make_screen(struct vnc *v, struct err **err)
{
    static const struct dynlib_symbol symbols[] = { FUNCTIONS(DYNLIB_SYMBOL) };
    int r = dynlib_open("libvncserver.so.1", symbols, sizeof(symbols) / sizeof(symbols[0]), err);

    if (r < 0) {
        return r;
    }
    if (resize(v, 640, 480) < 0) {
        return err_set(err, ENOMEM, "no memory");
    }
    *dyn_rfbLog = quiet_log;
    *dyn_rfbErr = quiet_log;
    *dyn_rfbMaxClientWait = WRITE_PATIENCE_MSEC;
    v->screen = dyn_rfbGetScreen(NULL, NULL, (int)v->width, (int)v->height, 8, 3, 4);
    if (v->screen == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    v->screen->frameBuffer = (char *)v->pixels;
    v->screen->serverFormat.redShift = 16;
    v->screen->serverFormat.greenShift = 8;
    v->screen->serverFormat.blueShift = 0;
    v->screen->screenData = v;
    v->screen->desktopName = v->m->name != NULL ? v->m->name : "Vireo";
    v->screen->alwaysShared = TRUE;
    v->screen->autoPort = FALSE;
    v->screen->port = 0;
    v->screen->ipv6port = 0;
    v->screen->httpDir = NULL;
    v->screen->cursor = NULL;
    v->screen->kbdAddEvent = on_key;
    v->screen->ptrAddEvent = on_pointer;
    if (v->wants_password) {
        v->passwords[0] = v->password;
        v->screen->authPasswdData = v->passwords;
        v->screen->passwordCheck = check_password;
    }
    dyn_rfbInitServerWithPthreadsAndZRLE(v->screen);
    return 0;
}

int vnc_open(struct machine *m, struct keyval *opts, struct vnc **ret, struct err **err)
{
    const char *where = keyval_get(opts, "display");
    struct vnc *v;
    unsigned long long to = 0;
    bool password = false;
    int r = keyval_get_u64(opts, "to", 0, &to, err);

    if (r == 0) {
        r = keyval_get_bool(opts, "password", false, &password, err);
    }
    (void)keyval_get(opts, "audiodev");
    (void)keyval_get(opts, "share");
    (void)keyval_get(opts, "id");
    (void)keyval_get(opts, "power-control");
    if (r == 0) {
        r = keyval_check_used(opts, err);
    }
    if (r < 0 || where == NULL || str_eq(where, "none")) {
        return r;
    }
    v = calloc(1, sizeof(*v));
    if (v == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    *ret = v;
    v->m = m;
    v->fd = -1;
    v->wants_password = password;
    r = start_listening(v, where, to, err);
    if (r == 0) {
        r = make_screen(v, err);
    }
    if (r == 0) {
        r = loop_add_timer(m->loop, tick, v, &v->timer);
    }
    return r == 0 ? loop_add_fd(m->loop, v->fd, EPOLLIN, on_connection, v, &v->source) : r;
}

struct vnc *vnc_close(struct vnc *v)
{
    if (v != NULL) {
        v->source = loop_source_free(v->source);
        v->timer = loop_source_free(v->timer);
        if (v->screen != NULL) {
            dyn_rfbShutdownServer(v->screen, TRUE);
            v->screen->frameBuffer = NULL;
            dyn_rfbScreenCleanup(v->screen);
        }
        close_fdp(&v->fd);
        if (v->path != NULL) {
            (void)unlink(v->path);
        }
        free(v->path);
        free(v->pixels);
        free(v);
    }
    return NULL;
}
