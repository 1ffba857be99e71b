/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stdio.c - the terminal: raw while the emulator runs, put back whatever way it ends. With mux=on,
 * Ctrl-A is the escape key: x quits, c switches the front end, b sends a break, h helps.
 */
#include "vmm/char/chardev.h"

#include "base/log.h"
#include "codec/keyval.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { ESCAPE_KEY = 0x01, PENDING = 4096 };

struct stdio_chr {
    struct chardev chr;
    struct chardev_stream s;
    bool mux;
    bool escaped;
    bool signals;
    /* What the front end has no room for yet: the escape key works also when the guest is stuck. */
    uint8_t pending[PENDING];
    size_t n_pending;
};

static struct termios saved_terminal;
static volatile sig_atomic_t terminal_saved;
static int saved_flags_in, saved_flags_out;
static volatile sig_atomic_t flags_saved;

void chardev_restore_terminal(void)
{
    if (flags_saved) {
        (void)fcntl(0, F_SETFL, saved_flags_in);
        (void)fcntl(1, F_SETFL, saved_flags_out);
    }
    if (terminal_saved) {
        (void)tcsetattr(0, TCSANOW, &saved_terminal);
    }
}

static void on_fatal_signal(int signo)
{
    chardev_restore_terminal();
    (void)signal(signo, SIG_DFL);
    (void)raise(signo);
}

static void terminal_raw(bool signals)
{
    static const int fatal[] = { SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT };
    struct termios t;

    if (tcgetattr(0, &t) < 0) {
        return;
    }
    saved_terminal = t;
    terminal_saved = 1;
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++) {
        struct sigaction old;

        /* The accelerator may have its own handlers; those come first. */
        if (sigaction(fatal[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL) {
            (void)signal(fatal[i], on_fatal_signal);
        }
    }
    t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t.c_oflag |= OPOST;
    t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals) {
        t.c_lflag &= ~(tcflag_t)ISIG;
    }
    t.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
    t.c_cflag |= CS8;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    (void)tcsetattr(0, TCSANOW, &t);
}

static void help(struct stdio_chr *c)
{
    static const char text[] = "\r\n"
                               "Ctrl-A h  this help\r\n"
                               "Ctrl-A x  quit\r\n"
                               "Ctrl-A c  switch between console and monitor\r\n"
                               "Ctrl-A b  send a break\r\n"
                               "Ctrl-A Ctrl-A  send Ctrl-A\r\n";

    chardev_stream_write(&c->s, (const uint8_t *)text, sizeof(text) - 1);
}

static void escape(struct stdio_chr *c, uint8_t key)
{
    switch (key) {
    case 'x':
        machine_request_shutdown(c->chr.m, CAUSE_HOST_UI);
        break;
    case 'c':
        if (c->chr.n_frontends > 1) {
            const struct chardev_frontend *fe;

            c->chr.focus = (c->chr.focus + 1) % c->chr.n_frontends;
            fe = c->chr.frontends[c->chr.focus];
            if (fe->event != NULL) {
                fe->event(fe->arg, CHARDEV_FOCUSED);
            }
        }
        break;
    case 'b':
        chardev_signal(&c->chr, CHARDEV_BREAK);
        break;
    case 'h':
    case '?':
        help(c);
        break;
    case ESCAPE_KEY:
        c->pending[c->n_pending++] = key;
        break;
    default:
        break;
    }
}

static void deliver(struct stdio_chr *c)
{
    size_t room;

    while (c->n_pending > 0 && (room = chardev_room(&c->chr)) > 0) {
        size_t n = room < c->n_pending ? room : c->n_pending;
        uint8_t part[64];

        n = n < sizeof(part) ? n : sizeof(part);
        memcpy(part, c->pending, n);
        c->n_pending -= n;
        memmove(c->pending, c->pending + n, c->n_pending);
        chardev_input(&c->chr, part, n);
    }
}

static size_t filter_room(struct chardev *chr)
{
    return PENDING - ((struct stdio_chr *)chr)->n_pending;
}

static void filter(struct chardev *chr, const uint8_t *buf, size_t len)
{
    struct stdio_chr *c = (struct stdio_chr *)chr;

    for (size_t i = 0; i < len; i++) {
        if (c->escaped) {
            c->escaped = false;
            escape(c, buf[i]);
        } else if (buf[i] == ESCAPE_KEY) {
            c->escaped = true;
        } else {
            c->pending[c->n_pending++] = buf[i];
        }
    }
    deliver(c);
}

static int stdio_open(struct chardev *chr, struct keyval *opts, struct err **err)
{
    struct stdio_chr *c = (struct stdio_chr *)chr;
    int r;

    c->s.fd_in = c->s.fd_out = -1;
    if (flags_saved) {
        return err_set(err, EBUSY, "stdio is in use by another character device");
    }
    r = keyval_get_bool(opts, "mux", false, &c->mux, err);
    if (r == 0) {
        r = keyval_get_bool(opts, "signal", true, &c->signals, err);
    }
    if (r < 0) {
        return r;
    }
    saved_flags_in = fcntl(0, F_GETFL);
    saved_flags_out = fcntl(1, F_GETFL);
    if (saved_flags_in < 0 || saved_flags_out < 0) {
        return err_set(err, EBADF, "stdin or stdout is closed");
    }
    flags_saved = 1;
    (void)atexit(chardev_restore_terminal);
    terminal_raw(c->signals && !c->mux);
    if (c->mux) {
        c->s.filter = filter;
        c->s.filter_room = filter_room;
        chr->max_frontends = 4;
    }
    chr->filename = strdup("stdio");
    chr->opened = true;
    return chardev_stream_open(&c->s, chr, 0, 1, err);
}

static void stdio_close(struct chardev *chr)
{
    struct stdio_chr *c = (struct stdio_chr *)chr;

    chardev_stream_close(&c->s);
    chardev_restore_terminal();
    flags_saved = 0;
    terminal_saved = 0;
}

static void stdio_write(struct chardev *chr, const uint8_t *buf, size_t len)
{
    chardev_stream_write(&((struct stdio_chr *)chr)->s, buf, len);
}

static void stdio_accept(struct chardev *chr)
{
    struct stdio_chr *c = (struct stdio_chr *)chr;

    deliver(c);
    if (c->s.filter == NULL || filter_room(chr) > 0) {
        chardev_stream_accept(&c->s);
    }
}

const struct chardev_class chardev_stdio = {
    .name = "stdio",
    .desc = "the emulator's own stdin and stdout",
    .size = sizeof(struct stdio_chr),
    .open = stdio_open,
    .close = stdio_close,
    .write = stdio_write,
    .accept_input = stdio_accept,
};
