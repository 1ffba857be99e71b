/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * console.c - the human monitor on a character device: a prompt, a line, its answer. On the
 * console's multiplexer it takes turns with the serial port (Ctrl-A c).
 */
#include "vmm/qmp/console.h"

#include "base/str.h"
#include "codec/keyval.h"
#include "vmm/char/chardev.h"
#include "vmm/cli/config.h"
#include "vmm/machine/machine.h"
#include "vmm/qmp/hmp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINE = 4096, HISTORY = 32, BACKSPACE = 8, DELETE = 127, KILL_LINE = 21, ESCAPE = 27 };

struct console {
    struct list link;
    struct machine *m;
    struct chardev *chr; /* borrowed; NULL: not attached */
    struct chardev_frontend fe;
    char line[MAX_LINE + 1];
    size_t len;
    char *history[HISTORY]; /* owned; the newest first */
    unsigned n_history, at_history; /* at_history: 0 is the line being written */
    unsigned escape; /* bytes of an escape sequence seen */
    bool greeted;
};

struct consoles {
    struct list list;
};

static void say(struct console *c, const char *text)
{
    for (const char *p = text; *p != '\0';) {
        size_t n = strcspn(p, "\n");

        chardev_write(c->chr, p, n);
        p += n;
        if (*p == '\n') {
            chardev_write(c->chr, "\r\n", 2);
            p++;
        }
    }
}

static void prompt(struct console *c)
{
    say(c, "(qemu) ");
    c->len = 0;
    c->at_history = 0;
}

static void greet(struct console *c)
{
    if (!c->greeted) {
        c->greeted = true;
        say(c, "Vireo monitor - type 'help' for more information\n");
        prompt(c);
    }
}

static void remember(struct console *c)
{
    char *copy;

    if (c->len == 0 || (c->n_history > 0 && str_eq(c->history[0], c->line)) ||
        (copy = strdup(c->line)) == NULL) {
        return;
    }
    if (c->n_history == HISTORY) {
        free(c->history[--c->n_history]);
    }
    memmove(c->history + 1, c->history, c->n_history * sizeof(c->history[0]));
    c->history[0] = copy;
    c->n_history++;
}

static void enter(struct console *c)
{
    c->line[c->len] = '\0';
    say(c, "\n");
    remember(c);
    if (c->len > 0) {
        AUTO_FREE char *answer = hmp_run(c->m, c->line);

        if (answer != NULL) {
            say(c, answer);
        }
    }
    prompt(c);
}

static void erase_line(struct console *c)
{
    while (c->len > 0) {
        chardev_write(c->chr, "\b \b", 3);
        c->len--;
    }
}

/* Up and down. */
static void recall(struct console *c, int step)
{
    int at = (int)c->at_history + step;
    const char *text;

    if (at < 0 || at > (int)c->n_history) {
        return;
    }
    erase_line(c);
    c->at_history = (unsigned)at;
    text = at > 0 ? c->history[at - 1] : "";
    c->len = strlen(text);
    memcpy(c->line, text, c->len);
    chardev_write(c->chr, text, c->len);
}

static void take_byte(struct console *c, uint8_t b)
{
    if (c->escape == 1) {
        c->escape = b == '[' ? 2 : 0;
        return;
    }
    if (c->escape == 2) {
        c->escape = 0;
        recall(c, b == 'A' ? 1 : b == 'B' ? -1 : 0);
        return;
    }
    switch (b) {
    case '\r':
    case '\n':
        enter(c);
        break;
    case BACKSPACE:
    case DELETE:
        if (c->len > 0) {
            c->len--;
            chardev_write(c->chr, "\b \b", 3);
        }
        break;
    case KILL_LINE:
        erase_line(c);
        break;
    case ESCAPE:
        c->escape = 1;
        break;
    default:
        if (b >= ' ' && c->len < MAX_LINE) {
            c->line[c->len++] = (char)b;
            chardev_write(c->chr, &b, 1);
        }
        break;
    }
}

static size_t on_can_receive(void *arg)
{
    (void)arg;
    return MAX_LINE;
}

static void on_receive(void *arg, const uint8_t *buf, size_t len)
{
    greet(arg);
    for (size_t i = 0; i < len; i++) {
        take_byte(arg, buf[i]);
    }
}

static void on_event(void *arg, enum chardev_event event)
{
    struct console *c = arg;

    if (event == CHARDEV_FOCUSED && c->greeted) {
        say(c, "\n");
        prompt(c);
    } else if (event == CHARDEV_FOCUSED ||
               (event == CHARDEV_OPENED && c->chr->frontends[c->chr->focus] == &c->fe)) {
        greet(c);
    } else if (event == CHARDEV_CLOSED) {
        c->greeted = false;
        c->len = 0;
    }
}

static int add(struct consoles *all, struct machine *m, struct chardev *chr, struct err **err)
{
    struct console *c = calloc(1, sizeof(*c));
    int r;

    if (c == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    c->m = m;
    c->fe = (struct chardev_frontend) {
        .can_receive = on_can_receive, .receive = on_receive, .event = on_event, .arg = c
    };
    list_append(&all->list, &c->link);
    c->chr = chr;
    r = chardev_attach(chr, &c->fe, err);
    if (r < 0) {
        c->chr = NULL;
    }
    return r;
}

/* -serial mon:DEV shares the device with the monitor; -nographic means that. */
static int add_to_serials(struct consoles *all, struct machine *m, const struct config *c,
                          struct err **err)
{
    bool implied = c->serials.n == 0 && !c->nodefaults && c->display == DISPLAY_NOGRAPHIC;
    int r = 0;

    for (size_t i = 0; r == 0 && i < (implied ? 1 : c->serials.n); i++) {
        AUTO_FREE char *id = str_format("serial%zu", i);
        struct chardev *chr = id != NULL ? chardev_find(m, id) : NULL;

        if (chr != NULL && (implied || str_starts(c->serials.items[i], "mon:"))) {
            r = add(all, m, chr, err);
        }
    }
    return r;
}

int consoles_open(struct machine *m, const struct config *c, struct consoles **ret,
                  struct err **err)
{
    struct consoles *all = calloc(1, sizeof(*all));
    int r;

    if (all == NULL) {
        return err_set(err, ENOMEM, "no memory");
    }
    list_init(&all->list);
    *ret = all;
    r = add_to_serials(all, m, c, err);
    for (size_t i = 0; r == 0 && i < c->monitors.n; i++) {
        AUTO_FREE char *id = str_format("monitor%zu", i);
        struct chardev *chr = NULL;

        r = id != NULL ? chardev_add_short(m, c->monitors.items[i], id, &chr, err) : -ENOMEM;
        if (r == 0 && chr != NULL) {
            r = add(all, m, chr, err);
        }
        if (r < 0) {
            err_prefix(err, "-monitor: ");
        }
    }
    for (size_t i = 0; r == 0 && i < c->lists[LIST_MON].n; i++) {
        struct keyval *opts = c->lists[LIST_MON].items[i];
        const char *id = keyval_get(opts, "chardev");
        const char *mode = keyval_get(opts, "mode");
        struct chardev *chr = id != NULL ? chardev_find(m, id) : NULL;

        if (chr != NULL && (mode == NULL || str_eq(mode, "readline"))) {
            r = add(all, m, chr, err);
        }
    }
    return r;
}

struct consoles *consoles_close(struct consoles *all)
{
    if (all != NULL) {
        LIST_FOREACH_SAFE (&all->list, it) {
            struct console *c = CONTAINER_OF(it, struct console, link);

            if (c->chr != NULL) {
                chardev_detach(c->chr, &c->fe);
            }
            for (unsigned i = 0; i < c->n_history; i++) {
                free(c->history[i]);
            }
            free(c);
        }
        free(all);
    }
    return NULL;
}
