/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chardev.h - the host's end of a serial line, console or monitor: stdio, file, pty, socket, null.
 *
 * One back end has one front end, except for stdio with mux=on, where Ctrl-A c switches between
 * several. chardev_write() may be called from any thread with the machine's lock held; everything
 * else, callbacks included, is for the main loop.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct keyval;
struct loop;
struct machine;

struct chardev;

/* FOCUSED: of a multiplexer, which gives this front end the input from now on. */
enum chardev_event { CHARDEV_OPENED, CHARDEV_CLOSED, CHARDEV_BREAK, CHARDEV_FOCUSED };

struct chardev_frontend {
    /* How many bytes receive() takes now; 0 stops reading until chardev_accept(). */
    size_t (*can_receive)(void *arg);
    void (*receive)(void *arg, const uint8_t *buf, size_t len);
    void (*event)(void *arg, enum chardev_event event); /* may be NULL */
    void *arg;
};

/* What a back end implements; struct chardev_class tables are listed in chardev.c. */
struct chardev_class {
    const char *name;
    const char *desc;
    size_t size;
    int (*open)(struct chardev *chr, struct keyval *opts, struct err **err);
    void (*close)(struct chardev *chr);
    /* Takes all bytes: what does not fit is kept or, when nobody listens, dropped. */
    void (*write)(struct chardev *chr, const uint8_t *buf, size_t len);
    void (*accept_input)(struct chardev *chr); /* may be NULL */
};

struct chardev {
    const struct chardev_class *cls;
    struct machine *m;
    struct loop *loop;
    char *id;       /* owned */
    char *filename; /* owned; as query-chardev shows it, "pty:/dev/pts/3" */
    const struct chardev_frontend *frontends[4];
    unsigned n_frontends;
    unsigned focus; /* which one gets the input */
    unsigned max_frontends;
    bool opened; /* somebody is at the other end */
    bool accept_posted;
};

/* -chardev BACKEND,id=ID,...; the machine owns it. */
int chardev_add(struct machine *m, struct keyval *opts, struct chardev **ret, struct err **err)
    MUST_CHECK;
/* QEMU's short forms for -serial and -monitor: "stdio", "mon:stdio", "file:PATH", "pty", "null",
 * "chardev:ID", "unix:PATH,server,nowait", "tcp:...", "none" (*ret = NULL). */
int chardev_add_short(struct machine *m, const char *text, const char *id, struct chardev **ret,
                      struct err **err) MUST_CHECK;
struct chardev *chardev_free(struct chardev *chr);
void chardev_free_all(struct machine *m);
struct chardev *chardev_find(struct machine *m, const char *id);

/* -EBUSY when the back end has a front end already. The struct is borrowed. */
int chardev_attach(struct chardev *chr, const struct chardev_frontend *fe, struct err **err)
    MUST_CHECK;
void chardev_detach(struct chardev *chr, const struct chardev_frontend *fe);
void chardev_write(struct chardev *chr, const void *buf, size_t len);
/* The front end takes input again. */
void chardev_accept(struct chardev *chr);

/* For back ends. */
size_t chardev_room(struct chardev *chr);
void chardev_input(struct chardev *chr, const uint8_t *buf, size_t len);
void chardev_signal(struct chardev *chr, enum chardev_event event);

/* A stream descriptor with an output queue, shared by the back ends (char/stream.c). */
struct chardev_stream {
    struct chardev *chr;
    int fd_in, fd_out; /* owned by the back end */
    int fd_watch;      /* owned: a duplicate of fd_out, once needed */
    struct loop_source *in, *out;
    uint8_t *queue; /* owned: what could not be written yet */
    size_t queued;
    bool out_armed;
    bool kick_posted;
    bool in_parked;
    bool takes_fds; /* a unix socket: descriptors may come along */
    void (*on_hangup)(struct chardev *chr);
    /* Filters input (stdio's escape key); NULL: as it is. */
    void (*filter)(struct chardev *chr, const uint8_t *buf, size_t len);
    size_t (*filter_room)(struct chardev *chr); /* how much it takes; with filter */
};
int chardev_stream_open(struct chardev_stream *s, struct chardev *chr, int fd_in, int fd_out,
                        struct err **err) MUST_CHECK;
void chardev_stream_close(struct chardev_stream *s);
void chardev_stream_write(struct chardev_stream *s, const uint8_t *buf, size_t len);
void chardev_stream_accept(struct chardev_stream *s);

extern const struct chardev_class chardev_stdio;
extern const struct chardev_class chardev_file;
extern const struct chardev_class chardev_pty;
extern const struct chardev_class chardev_null;
extern const struct chardev_class chardev_socket;

/* Puts the terminal back; async-signal-safe, may be called often. */
void chardev_restore_terminal(void);
