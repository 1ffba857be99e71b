/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c - vireo: finds the command, prints help and errors. */
#include "base/log.h"
#include "base/str.h"
#include "tools/vireo/command.h"

#include <stdio.h>

static void help_all(FILE *to)
{
    (void)fprintf(to, "usage: vireo COMMAND [ARGUMENT]...\n\n"
                      "Runs and manages virtual machines.\n\ncommands:\n");
    for (const struct command *const *c = commands; *c != NULL; c++) {
        (void)fprintf(to, "  %-10s %s\n", (*c)->name, (*c)->summary);
    }
    (void)fprintf(to, "\n'vireo COMMAND --help' explains one command; the manual is vireo(1).\n");
}

static void help_one(const struct command *c)
{
    printf("usage: vireo %s %s\n\n%s\n", c->name, c->usage, c->summary);
    if (c->help != NULL) {
        printf("\n%s", c->help);
    }
}

static const struct command *find(const char *name)
{
    for (const struct command *const *c = commands; *c != NULL; c++) {
        if (str_eq((*c)->name, name)) {
            return *c;
        }
    }
    return NULL;
}

static const char *nearest(const char *name)
{
    const char *best = NULL;
    unsigned least = 3;

    for (const struct command *const *c = commands; *c != NULL; c++) {
        unsigned d = str_distance((*c)->name, name);

        if (d < least) {
            least = d;
            best = (*c)->name;
        }
    }
    return best;
}

/* --help counts only before "--": what follows is the guest's. */
static bool asks_help(int argc, char **argv)
{
    for (int i = 1; i < argc && !str_eq(argv[i], "--"); i++) {
        if (str_eq(argv[i], "--help") || str_eq(argv[i], "-h")) {
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    CLEANUP(err_freep) struct err *err = NULL;
    const struct command *c;
    int r;

    log_set_program("vireo");
    if (argc < 2) {
        help_all(stderr);
        return 1;
    }
    if (str_eq(argv[1], "--help") || str_eq(argv[1], "-h") || str_eq(argv[1], "help")) {
        help_all(stdout);
        return 0;
    }
    if (str_eq(argv[1], "--version") || str_eq(argv[1], "-V")) {
        printf("vireo %s\n", VIREO_VERSION);
        return 0;
    }
    c = find(argv[1]);
    if (c == NULL) {
        const char *near = nearest(argv[1]);

        log_error("unknown command '%s'%s%s%s (see vireo --help)", argv[1],
                  near != NULL ? ", did you mean '" : "", near != NULL ? near : "",
                  near != NULL ? "'?" : "");
        return 1;
    }
    if (asks_help(argc - 1, argv + 1)) {
        help_one(c);
        return 0;
    }
    r = c->run(argc - 1, argv + 1, &err);
    if (r < 0) {
        log_error("%s", err != NULL ? err->text : strerror(-r));
        return 1;
    }
    return r;
}
