/* SPDX-License-Identifier: GPL-2.0-or-later */
/* shell.c - finding a command, reading its words, running it. */
#include "tools/vireo/shell.h"

#include <errno.h>
#include <stdarg.h>
#include <time.h>

enum { WORDS_MAX = 512, TEXT_MAX = 1 << 20 };

int error(const char *fmt, ...)
{
    va_list ap;

    (void)fflush(stdout);
    (void)fputs("error: ", stderr);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    return -1;
}

int fail_last(void)
{
    return error("%s", vireo_last_error()->message);
}

int fail(const char *fmt, ...)
{
    va_list ap;

    (void)fflush(stdout);
    (void)fputs("error: ", stderr);
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    return fail_last();
}

void extra(const struct shell *sh, const char *fmt, ...)
{
    va_list ap;

    if (!sh->quiet) {
        va_start(ap, fmt);
        (void)vprintf(fmt, ap);
        va_end(ap);
    }
}

const struct shell_command *shell_find(const char *name)
{
    for (const struct shell_group *const *g = shell_groups; *g != NULL; g++) {
        for (const struct shell_command *c = (*g)->commands; c->name != NULL; c++) {
            if (str_eq(c->name, name)) {
                return c;
            }
        }
    }
    return NULL;
}

/* ---- what a command takes ---- */

enum kind { KIND_SWITCH, KIND_VALUE, KIND_NUMBER, KIND_REST };

struct word {
    const char *name;
    enum kind kind;
    bool required, by_name;
    const char *alias_of;
};

/* Cuts the text into words; their number. */
static unsigned read_takes(char *text, struct word *words)
{
    unsigned n = 0;

    while (text != NULL && *text != '\0' && n < ARGS_MAX) {
        char *p = strsep(&text, " ");
        struct word *w = &words[n++];
        size_t len;
        char *arrow;

        *w = (struct word) { .name = p, .kind = KIND_VALUE };
        if (str_starts(p, "--")) {
            w->name = p + 2;
            w->kind = KIND_SWITCH;
            arrow = strchr(p, '>');
            if (arrow != NULL) {
                *arrow = '\0';
                w->alias_of = arrow + 1;
            }
            continue;
        }
        for (len = strlen(p); len > 0 && strchr("!#*=", p[len - 1]) != NULL; len--) {
            w->by_name |= p[len - 1] == '=';
            w->required |= p[len - 1] == '!';
            w->kind = p[len - 1] == '#' ? KIND_NUMBER : p[len - 1] == '*' ? KIND_REST : w->kind;
            p[len - 1] = '\0';
        }
    }
    return n;
}

static const struct word *find_word(const struct word *words, unsigned n, const char *name,
                                    size_t len)
{
    for (unsigned i = 0; i < n; i++) {
        if (strlen(words[i].name) == len && strncmp(words[i].name, name, len) == 0) {
            if (words[i].alias_of != NULL) {
                return find_word(words, n, words[i].alias_of, strlen(words[i].alias_of));
            }
            return &words[i];
        }
    }
    return NULL;
}

static int add(struct args *a, const struct word *w, const char *value)
{
    if (w->kind == KIND_REST) {
        if (a->n_rest < VALUES_MAX) {
            a->rest[a->n_rest++] = value;
        }
        return 0;
    }
    if (arg_set(a, w->name)) {
        return error("option --%s already seen", w->name);
    }
    if (a->n_given < ARGS_MAX) {
        a->given[a->n_given].name = w->name;
        a->given[a->n_given++].value = value;
    }
    return 0;
}

static int parse_option(struct args *a, const struct word *words, unsigned n, char **argv, int argc,
                        int *at)
{
    const char *text = argv[*at] + 2, *eq = strchr(text, '=');
    size_t len = eq != NULL ? (size_t)(eq - text) : strlen(text);
    const struct word *w = find_word(words, n, text, len);

    if (w == NULL) {
        return error("command '%s' doesn't support option --%.*s", a->command->name, (int)len,
                     text);
    }
    if (w->kind == KIND_SWITCH) {
        return eq != NULL ? error("invalid '=' after option --%s", w->name) : add(a, w, NULL);
    }
    if (eq == NULL) {
        if (*at + 1 >= argc) {
            return error("expected syntax: --%s <%s>", w->name,
                         w->kind == KIND_NUMBER ? "number" : "string");
        }
        (*at)++;
    }
    return add(a, w, eq != NULL ? eq + 1 : argv[*at]);
}

static int parse_place(struct args *a, const struct word *words, unsigned n, const char *value)
{
    for (unsigned i = 0; i < n; i++) {
        if (words[i].kind != KIND_SWITCH && !words[i].by_name &&
            (words[i].kind == KIND_REST || !arg_set(a, words[i].name))) {
            return add(a, &words[i], value);
        }
    }
    return error("unexpected data '%s'", value);
}

static int parse(struct args *a, char **argv, int argc, bool *ret_help)
{
    struct word words[ARGS_MAX];
    unsigned n;
    bool only_data = false;
    int r = 0;

    a->names = strdup(a->command->takes);
    if (a->names == NULL) {
        return error("%s", strerror(ENOMEM));
    }
    n = read_takes(a->names, words);
    for (int i = 1; r == 0 && i < argc; i++) {
        if (!only_data && str_eq(argv[i], "--help")) {
            *ret_help = true;
            return 0;
        }
        if (!only_data && str_eq(argv[i], "--")) {
            only_data = true;
        } else if (!only_data && str_starts(argv[i], "--")) {
            r = parse_option(a, words, n, argv, argc, &i);
        } else {
            r = parse_place(a, words, n, argv[i]);
        }
    }
    for (unsigned i = 0; r == 0 && i < n; i++) {
        if (words[i].required &&
            (words[i].kind == KIND_REST ? a->n_rest == 0 : !arg_set(a, words[i].name))) {
            r = error("command '%s' requires %s%s%s option", a->command->name,
                      words[i].kind == KIND_SWITCH ? "--" : "<", words[i].name,
                      words[i].kind == KIND_SWITCH ? "" : ">");
        }
    }
    return r;
}

/* ---- values ---- */

bool arg_set(const struct args *a, const char *name)
{
    for (unsigned i = 0; i < a->n_given; i++) {
        if (str_eq(a->given[i].name, name)) {
            return true;
        }
    }
    return false;
}

const char *arg(const struct args *a, const char *name)
{
    for (unsigned i = 0; i < a->n_given; i++) {
        if (str_eq(a->given[i].name, name)) {
            return a->given[i].value;
        }
    }
    return NULL;
}

static int malformed(const struct args *a, const char *name, const char *what)
{
    return error("%s value '%s' for <%s> option is malformed or out of range", what, arg(a, name),
                 name);
}

int arg_ull(const struct args *a, const char *name, unsigned long long *ret)
{
    uint64_t v;

    if (arg(a, name) == NULL) {
        return 0;
    }
    if (str_to_u64(arg(a, name), 10, &v) < 0) {
        return malformed(a, name, "Numeric");
    }
    *ret = v;
    return 1;
}

int arg_uint(const struct args *a, const char *name, unsigned *ret)
{
    unsigned long long v = 0;
    int r = arg_ull(a, name, &v);

    if (r == 1 && v > UINT32_MAX) {
        return malformed(a, name, "Numeric");
    }
    if (r == 1) {
        *ret = (unsigned)v;
    }
    return r;
}

int arg_int(const struct args *a, const char *name, int *ret)
{
    int64_t v;

    if (arg(a, name) == NULL) {
        return 0;
    }
    if (str_to_i64(arg(a, name), 10, &v) < 0 || v > INT32_MAX || v < INT32_MIN) {
        return malformed(a, name, "Numeric");
    }
    *ret = (int)v;
    return 1;
}

int arg_size(const struct args *a, const char *name, unsigned long long scale,
             unsigned long long *ret)
{
    static const char letters[] = "bkmgtpe";
    const char *text = arg(a, name), *at;
    unsigned long long v;
    char *end;

    if (text == NULL) {
        return 0;
    }
    errno = 0;
    v = strtoull(text, &end, 10);
    if (end == text || errno != 0 || *text == '-') {
        return malformed(a, name, "Scaled numeric");
    }
    if (*end != '\0') {
        char lower = (char)(*end | 0x20);
        bool decimal = end[1] != '\0' && (end[1] | 0x20) == 'b' && lower != 'b';
        bool bytes = str_eq(end, "bytes") || str_eq(end, "byte");

        at = strchr(letters, lower);
        if (!bytes && at == NULL) {
            (void)malformed(a, name, "Scaled numeric");
            return error("invalid argument: unknown suffix '%s'", end);
        }
        if (!bytes && (at == NULL || (end[1] != '\0' && !decimal &&
                                      !((end[1] | 0x20) == 'i' && (end[2] | 0x20) == 'b')))) {
            return malformed(a, name, "Scaled numeric");
        }
        scale = 1;
        for (const char *p = letters; !bytes && p != at; p++) {
            scale *= decimal ? 1000 : 1024;
        }
    }
    if (__builtin_mul_overflow(v, scale, ret)) {
        return malformed(a, name, "Scaled numeric");
    }
    return 1;
}

int arg_exclusive(const struct args *a, const char *x, const char *y)
{
    return arg_set(a, x) && arg_set(a, y)
               ? error("Options --%s and --%s are mutually exclusive", x, y)
               : 0;
}

int arg_requires(const struct args *a, const char *x, const char *y)
{
    return arg_set(a, x) && !arg_set(a, y) ? error("Option --%s is required by option --%s", y, x)
                                           : 0;
}

uint32_t arg_flags(const struct args *a, const struct flag *flags)
{
    uint32_t bits = 0;

    for (; flags->name != NULL; flags++) {
        bits |= arg_set(a, flags->name) ? flags->bit : 0;
    }
    return bits;
}

int arg_affect(const struct args *a, uint32_t *ret)
{
    if (arg_exclusive(a, "current", "live") || arg_exclusive(a, "current", "config") ||
        arg_exclusive(a, "persistent", "current")) {
        return -1;
    }
    *ret =
        (arg_set(a, "live") ? 1u : 0) | (arg_set(a, "config") || arg_set(a, "persistent") ? 2u : 0);
    return 0;
}

/* ---- running ---- */

static const char *kind_text(const struct word *w)
{
    return w->kind == KIND_NUMBER ? "<number>" : "<string>";
}

static void print_usage(const struct shell_command *c)
{
    struct word words[ARGS_MAX];
    AUTO_FREE char *text = strdup(c->takes);
    unsigned n = text != NULL ? read_takes(text, words) : 0;

    printf("  NAME\n    %s - %s\n\n  SYNOPSIS\n    %s", c->name, c->summary, c->name);
    for (unsigned i = 0; i < n; i++) {
        const struct word *w = &words[i];

        if (w->alias_of != NULL) {
            continue;
        }
        if (w->kind == KIND_SWITCH) {
            printf(" [--%s]", w->name);
        } else if (w->kind == KIND_REST) {
            printf(w->required ? " <%s>..." : " [<%s>]...", w->name);
        } else if (w->required) {
            printf(" <%s>", w->name);
        } else {
            printf(" [--%s %s]", w->name, kind_text(w));
        }
    }
    printf("\n\n");
    if (n > 0) {
        printf("  OPTIONS\n");
    }
    for (unsigned i = 0; i < n; i++) {
        const struct word *w = &words[i];

        if (w->alias_of == NULL) {
            printf(w->kind == KIND_SWITCH ? "    --%s\n"
                   : w->kind == KIND_REST ? "    [--%s] <string>\n"
                   : w->required          ? "    [--%s] %s\n"
                                          : "    --%s %s\n",
                   w->name, kind_text(w));
        }
    }
}

void shell_print_usage(const struct shell_command *c);
void shell_print_usage(const struct shell_command *c)
{
    print_usage(c);
}

int shell_connect(struct shell *sh)
{
    if (sh->conn != NULL && vireo_connect_is_alive(sh->conn)) {
        return 0;
    }
    if (sh->conn != NULL) {
        vireo_connect_close(sh->conn);
        sh->conn = NULL;
        (void)error("Reconnecting to the hypervisor");
    }
    return vireo_connect_open(sh->uri, sh->readonly ? VIREO_CONNECT_RO : 0, &sh->conn) == 0
               ? 0
               : fail("failed to connect to the hypervisor");
}

int shell_words(struct shell *sh, char **words, int n)
{
    struct args a = { .sh = sh, .command = shell_find(words[0]) };
    struct timespec t0, t1;
    bool help = false;
    int r;

    if (a.command == NULL) {
        return error("unknown command: '%s'", words[0]);
    }
    r = parse(&a, words, n, &help);
    if (r < 0) {
        free(a.names);
        return r;
    }
    if (r == 0 && help) {
        print_usage(a.command);
        free(a.names);
        return 0;
    }
    if (r == 0 && !a.command->offline) {
        r = shell_connect(sh);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &t0);
    if (r == 0) {
        r = a.command->run(sh, &a);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &t1);
    free(a.names);
    if (sh->timing) {
        extra(sh, "\n(Time: %.3f ms)\n\n",
              (double)(t1.tv_sec - t0.tv_sec) * 1000 + (double)(t1.tv_nsec - t0.tv_nsec) / 1000000);
    } else {
        extra(sh, "\n");
    }
    (void)fflush(stdout);
    return r;
}

/* The next word of a line, its quotes taken away, into out: 1, 0 at the end of a command
 * (*ret_more: another one follows), -1 after an error. */
static int next_word(const char **at, char **out, bool *ret_more)
{
    const char *p = *at;
    bool any = false, single = false, twice = false;

    *ret_more = false;
    while (*p == ' ' || *p == '\t' || *p == '\n' || (*p == '\\' && p[1] == '\n')) {
        p += *p == '\\' ? 2 : 1;
    }
    if (*p == '#') {
        p += strcspn(p, "\n");
    }
    if (*p == '\0' || *p == ';' || *p == '\n') {
        *ret_more = *p != '\0';
        *at = *p != '\0' ? p + 1 : p;
        return 0;
    }
    for (; *p != '\0'; p++) {
        if (!single && !twice && strchr(" \t\n;", *p) != NULL) {
            break;
        }
        any = true;
        if (*p == '\'' && !twice) {
            single = !single;
        } else if (*p == '"' && !single) {
            twice = !twice;
        } else if (*p == '\\' && !single && p[1] != '\0') {
            *(*out)++ = *++p;
        } else {
            *(*out)++ = *p;
        }
    }
    if (single || twice) {
        return error(single ? "missing '" : "missing \"");
    }
    *(*out)++ = '\0';
    *at = p;
    return any ? 1 : 0;
}

int shell_line(struct shell *sh, const char *line)
{
    AUTO_FREE char *store = malloc(strlen(line) + WORDS_MAX + 1);
    char *words[WORDS_MAX], *out = store;
    int r = 0;

    if (store == NULL) {
        return error("%s", strerror(ENOMEM));
    }
    for (bool more = true; more && !sh->quit;) {
        int n = 0, got = 1;

        out = store;
        while (got == 1 && n < WORDS_MAX) {
            words[n] = out;
            got = next_word(&line, &out, &more);
            n += got == 1;
        }
        if (got < 0) {
            return -1;
        }
        if (n > 0) {
            r = shell_words(sh, words, n);
        }
    }
    return r;
}
