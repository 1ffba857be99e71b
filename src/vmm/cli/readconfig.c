/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * readconfig.c - the file of -readconfig:
 *
 *     [device "net0"]        -device driver=e1000,netdev=n,id=net0
 *       driver = "e1000"
 *       netdev = "n"
 *
 * A line is a section's head, KEY = "VALUE", empty, or a comment that begins with '#'.
 */
#include "vmm/cli/readconfig.h"

#include "base/str.h"
#include "os/fd.h"

#include <errno.h>
#include <string.h>

enum { MAX_FILE = 1 << 20, MAX_SECTION = 1 << 16 };

struct section {
    char *name, *id; /* owned */
    struct strbuf text;
    bool open, empty;
};

/* Names of groups that differ from their options'. */
static const char *option_of(const char *group)
{
    return str_eq(group, "smp-opts")    ? "smp"
           : str_eq(group, "boot-opts") ? "boot"
           : str_eq(group, "memory")    ? "m"
                                        : group;
}

static void add(struct section *s, const char *key, const char *value, size_t len)
{
    strbuf_printf(&s->text, "%s%s=", s->empty ? "" : ",", key);
    s->empty = false;
    for (size_t i = 0; i < len; i++) { /* a comma is doubled in an option's argument */
        strbuf_append(&s->text, value + i, 1);
        if (value[i] == ',') {
            strbuf_append(&s->text, ",", 1);
        }
    }
}

static int finish(struct section *s, int (*take)(void *, const char *, const char *, struct err **),
                  void *arg, struct err **err)
{
    AUTO_FREE char *text = NULL;
    int r;

    if (!s->open) {
        return 0;
    }
    if (s->id != NULL) {
        add(s, "id", s->id, strlen(s->id));
    }
    text = strbuf_take(&s->text);
    r = text != NULL ? take(arg, option_of(s->name), text, err) : -ENOMEM;
    free(s->name);
    free(s->id);
    *s = (struct section) { .open = false };
    return r;
}

/* [NAME] or [NAME "ID"] */
static int begin(struct section *s, const char *line, size_t len, struct err **err)
{
    size_t name = strcspn(line + 1, " ]\"");
    const char *quote = memchr(line, '"', len);
    const char *end = quote != NULL ? memchr(quote + 1, '"', len - (size_t)(quote + 1 - line)) : NULL;

    if (line[len - 1] != ']' || name == 0 || (quote != NULL && end == NULL)) {
        return err_set(err, EINVAL, "'%.*s' is no section", (int)len, line);
    }
    *s = (struct section) { .name = strndup(line + 1, name),
                            .id = quote != NULL ? strndup(quote + 1, (size_t)(end - quote) - 1)
                                                : NULL,
                            .text = STRBUF_INIT(MAX_SECTION),
                            .open = true,
                            .empty = true };
    return s->name != NULL ? 0 : err_set(err, ENOMEM, "no memory");
}

static int pair(struct section *s, const char *line, size_t len, struct err **err)
{
    size_t name = strcspn(line, " \t=");
    const char *quote = memchr(line, '"', len);
    AUTO_FREE char *key = strndup(line, name);

    if (!s->open || key == NULL || name == 0 || memchr(line, '=', len) == NULL || quote == NULL ||
        line[len - 1] != '"' || quote == line + len - 1) {
        return err_set(err, EINVAL, "'%.*s' is not of the form KEY = \"VALUE\"", (int)len, line);
    }
    add(s, key, quote + 1, (size_t)(line + len - 1 - (quote + 1)));
    return 0;
}

int readconfig(const char *path,
               int (*take)(void *arg, const char *option, const char *value, struct err **err),
               void *arg, struct err **err)
{
    AUTO_FREE char *data = NULL;
    struct section s = { .open = false };
    size_t size = 0;
    unsigned number = 0;
    int r = file_slurp(path, MAX_FILE, &data, &size);

    if (r < 0) {
        return err_set(err, -r, "cannot read '%s': %s", path, strerror(-r));
    }
    for (const char *p = data; r == 0 && p < data + size;) {
        size_t line = strcspn(p, "\n");
        const char *from = p + strspn(p, " \t");
        size_t len = line - (size_t)(from - p);

        number++;
        while (len > 0 && (from[len - 1] == ' ' || from[len - 1] == '\t' || from[len - 1] == '\r')) {
            len--;
        }
        if (len > 0 && *from == '[') {
            r = finish(&s, take, arg, err);
            r = r == 0 ? begin(&s, from, len, err) : r;
        } else if (len > 0 && *from != '#') {
            r = pair(&s, from, len, err);
        }
        if (r < 0) {
            err_prefix(err, "%s:%u: ", path, number);
        }
        p += line + (p[line] == '\n');
    }
    r = r == 0 ? finish(&s, take, arg, err) : r;
    free(s.name);
    free(s.id);
    strbuf_done(&s.text);
    return r;
}
