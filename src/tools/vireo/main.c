/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main.c - vireo: our own commands (run, doctor), else the shell with virsh's. */
#include "base/log.h"
#include "base/str.h"
#include "tools/vireo/command.h"
#include "tools/vireo/shell.h"

#include <getopt.h>
#include <locale.h>
#include <stdio.h>

enum { ESCAPE = ']', OPTION_NO_LONG = 256 };

static void usage(FILE *to)
{
    (void)fprintf(
        to, "usage: vireo run|doctor [ARGUMENT]...\n"
            "       vireo [OPTION]... [COMMAND [ARGUMENT]...]\n\n"
            "Runs a virtual machine now, or manages those of a daemon with virsh's commands.\n"
            "Without a command it is a shell.\n\ncommands of its own:\n");
    for (const struct command *const *c = commands; *c != NULL; c++) {
        (void)fprintf(to, "  %-10s %s\n", (*c)->name, (*c)->summary);
    }
    (void)fprintf(
        to,
        "\noptions:\n"
        "  -c, --connect URI      the daemon (else $VIREO_URI, $VIRSH_DEFAULT_CONNECT_URI, $LIBVIRT_DEFAULT_URI)\n"
        "  -r, --readonly         connect read-only\n"
        "  -q, --quiet            no headers and no words of success\n"
        "  -t, --timing           print how long each command took\n"
        "  -e, --escape CHAR      the key that leaves a console (^])\n"
        "  -d, --debug LEVEL      accepted for virsh's sake\n"
        "  -l, --log FILE         accepted for virsh's sake\n"
        "  -k, --keepalive-interval NUM, -K, --keepalive-count NUM  accepted for virsh's sake\n"
        "  -h, --help             this text\n"
        "  -v, -V, --version      the version\n"
        "\n'vireo help' lists the commands of the daemon, 'vireo help COMMAND' explains one, 'vireo COMMAND --help' ours;\n"
        "the manual is vireo(1).\n");
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
    for (const struct shell_group *const *g = shell_groups; *g != NULL; g++) {
        for (const struct shell_command *c = (*g)->commands; c->name != NULL; c++) {
            unsigned d = str_distance(c->name, name);

            if (d < least) {
                least = d;
                best = c->name;
            }
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

static int run_own(const struct command *c, int argc, char **argv)
{
    CLEANUP(err_freep) struct err *err = NULL;
    int r;

    if (asks_help(argc, argv)) {
        help_one(c);
        return 0;
    }
    r = c->run(argc, argv, &err);
    if (r < 0) {
        log_error("%s", err != NULL ? err->text : strerror(-r));
        return 1;
    }
    return r;
}

static const char *default_uri(void)
{
    const char *const names[] = { "VIREO_URI", "VIRSH_DEFAULT_CONNECT_URI", "LIBVIRT_DEFAULT_URI" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *v = getenv(names[i]);

        if (v != NULL && *v != '\0') {
            return v;
        }
    }
    return NULL;
}

/* -1: go on; else the exit status. */
static int read_options(int argc, char **argv, struct shell *sh)
{
    static const struct option longs[] = { { "connect", required_argument, NULL, 'c' },
                                           { "readonly", no_argument, NULL, 'r' },
                                           { "quiet", no_argument, NULL, 'q' },
                                           { "timing", no_argument, NULL, 't' },
                                           { "escape", required_argument, NULL, 'e' },
                                           { "debug", required_argument, NULL, 'd' },
                                           { "log", required_argument, NULL, 'l' },
                                           { "keepalive-interval", required_argument, NULL, 'k' },
                                           { "keepalive-count", required_argument, NULL, 'K' },
                                           { "no-pkttyagent", no_argument, NULL, OPTION_NO_LONG },
                                           { "help", no_argument, NULL, 'h' },
                                           { "version", optional_argument, NULL, 'v' },
                                           { NULL, 0, NULL, 0 } };
    int o;

    while ((o = getopt_long(argc, argv, "+c:rqte:d:l:k:K:hvV", longs, NULL)) != -1) {
        switch (o) {
        case 'c':
            free(sh->uri);
            sh->uri = strdup(optarg);
            break;
        case 'r':
            sh->readonly = true;
            break;
        case 'q':
            sh->quiet = true;
            break;
        case 't':
            sh->timing = true;
            break;
        case 'e':
            sh->escape = optarg[0] == '^' ? optarg[1] : optarg[0];
            break;
        case 'h':
            usage(stdout);
            return 0;
        case 'v':
        case 'V':
            printf("vireo %s\n", VIREO_VERSION);
            return 0;
        case '?':
            return 1;
        default:
            break;
        }
    }
    return -1;
}

static int run_shell(struct shell *sh, int argc, char **argv)
{
    if (argc == 0) {
        return isatty(STDIN_FILENO) ? shell_interactive(sh) : 0;
    }
    if (argc == 1) {
        /* One word may be a whole line: vireo 'start a; console a'. */
        return shell_line(sh, argv[0]);
    }
    return shell_words(sh, argv, argc);
}

/* Without a terminal the lines are commands. */
static int run_stdin(struct shell *sh)
{
    AUTO_FREE char *line = NULL;
    size_t room = 0;
    int r = 0;

    while (!sh->quit && getline(&line, &room, stdin) >= 0) {
        r = shell_line(sh, line);
    }
    return r;
}

int main(int argc, char **argv)
{
    struct shell sh = { .escape = ESCAPE };
    int r;

    (void)setlocale(LC_ALL, "");
    log_set_program("vireo");
    if (argc > 1 && find(argv[1]) != NULL) {
        return run_own(find(argv[1]), argc - 1, argv + 1);
    }
    sh.uri = default_uri() != NULL ? strdup(default_uri()) : NULL;
    r = read_options(argc, argv, &sh);
    if (r >= 0) {
        free(sh.uri);
        return r;
    }
    argc -= optind;
    argv += optind;
    if (argc > 0 && argv[0][strcspn(argv[0], " ;\n")] == '\0' && shell_find(argv[0]) == NULL) {
        const char *near = nearest(argv[0]);

        log_error("unknown command '%s'%s%s%s (see vireo --help)", argv[0],
                  near != NULL ? ", did you mean '" : "", near != NULL ? near : "",
                  near != NULL ? "'?" : "");
        return 1;
    }
    r = argc == 0 && !isatty(STDIN_FILENO) ? run_stdin(&sh) : run_shell(&sh, argc, argv);
    if (sh.conn != NULL) {
        vireo_connect_close(sh.conn);
    }
    free(sh.uri);
    return r < 0 ? 1 : r;
}
