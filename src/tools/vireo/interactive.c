/* SPDX-License-Identifier: GPL-2.0-or-later */
/* interactive.c - the shell on a terminal: a line editor with history and completion. */
#include "os/path.h"
#include "tools/vireo/shell.h"

#include <readline/history.h>
#include <readline/readline.h>

enum { HISTORY_LINES = 500 };

/* The editor's callbacks take no argument. */
static struct shell *current;

static char *next_command(const char *text, int state)
{
    static const struct shell_group *const *g;
    static const struct shell_command *c;

    if (state == 0) {
        g = shell_groups;
        c = (*g)->commands;
    }
    while (*g != NULL) {
        while (c->name != NULL) {
            const char *name = c->name;

            c++;
            if (str_starts(name, text)) {
                return strdup(name);
            }
        }
        g++;
        c = *g != NULL ? (*g)->commands : NULL;
    }
    return NULL;
}

/* The command at the beginning of the line that is edited. */
static const struct shell_command *command_of_line(void)
{
    const char *start = rl_line_buffer;
    AUTO_FREE char *word = NULL;

    for (const char *p = start; *p != '\0' && p < rl_line_buffer + rl_point; p++) {
        start = *p == ';' ? p + 1 : start;
    }
    start += strspn(start, " \t");
    word = strndup(start, strcspn(start, " \t;"));
    return word != NULL ? shell_find(word) : NULL;
}

static char *next_option(const char *text, int state)
{
    static char *store, *at;
    const struct shell_command *c = command_of_line();

    if (state == 0) {
        free(store);
        store = c != NULL ? strdup(c->takes) : NULL;
        at = store;
    }
    while (at != NULL && *at != '\0') {
        char *word = strsep(&at, " ");
        size_t len;
        AUTO_FREE char *option = NULL;

        if (word == NULL || *word == '\0') {
            continue;
        }
        for (len = strlen(word); len > 0 && strchr("!#*=", word[len - 1]) != NULL; len--) {
            word[len - 1] = '\0';
        }
        word[strcspn(word, ">")] = '\0';
        option = str_format("%s%s", str_starts(word, "--") ? "" : "--", word);
        if (option != NULL && str_starts(option, text)) {
            return TAKE_PTR(option);
        }
    }
    return NULL;
}

static char *next_name(const char *text, int state)
{
    static char **names;
    static uint32_t n, at;
    const struct shell_command *c = command_of_line();

    if (state == 0) {
        for (uint32_t i = 0; i < n; i++) {
            free(names[i]);
        }
        free(names);
        names = NULL;
        n = at = 0;
        if (c == NULL || shell_connect(current) < 0) {
            return NULL;
        }
        if (str_starts(c->takes, "domain")) {
            AUTO_RET struct vireo_connect_list_all_domains_ret *r = NULL;

            if (vireo_connect_list_all_domains(current->conn, 1, 3, &r) == 0 &&
                (names = calloc(r->n_domains + 1, sizeof(*names))) != NULL) {
                for (; n < r->n_domains; n++) {
                    names[n] = strdup(r->domains[n].name);
                }
            }
        } else if (str_starts(c->takes, "network")) {
            AUTO_RET struct vireo_connect_list_all_networks_ret *r = NULL;

            if (vireo_connect_list_all_networks(current->conn, 1, 3, &r) == 0 &&
                (names = calloc(r->n_nets + 1, sizeof(*names))) != NULL) {
                for (; n < r->n_nets; n++) {
                    names[n] = strdup(r->nets[n].name);
                }
            }
        } else if (str_starts(c->takes, "pool")) {
            AUTO_RET struct vireo_connect_list_all_storage_pools_ret *r = NULL;

            if (vireo_connect_list_all_storage_pools(current->conn, 1, 3, &r) == 0 &&
                (names = calloc(r->n_pools + 1, sizeof(*names))) != NULL) {
                for (; n < r->n_pools; n++) {
                    names[n] = strdup(r->pools[n].name);
                }
            }
        }
    }
    while (at < n) {
        const char *name = names[at++];

        if (name != NULL && str_starts(name, text)) {
            return strdup(name);
        }
    }
    return NULL;
}

static char **complete(const char *text, int start, int end)
{
    const char *line = rl_line_buffer;
    int first = 0;
    char **found;

    (void)end;
    for (int i = 0; i < start; i++) {
        first = line[i] == ';' ? i + 1 : first;
    }
    while (line[first] == ' ') {
        first++;
    }
    if (start <= first) {
        rl_attempted_completion_over = 1;
        return rl_completion_matches(text, next_command);
    }
    if (*text == '-') {
        rl_attempted_completion_over = 1;
        return rl_completion_matches(text, next_option);
    }
    found = rl_completion_matches(text, next_name);
    return found; /* NULL: files */
}

int shell_interactive(struct shell *sh)
{
    AUTO_FREE char *dir = path_of(PATH_CACHE, false, NULL);
    AUTO_FREE char *file = dir != NULL ? str_format("%s/history", dir) : NULL;

    current = sh;
    sh->interactive = true;
    if (!sh->quiet) {
        printf("Welcome to vireo, the virtualization interactive terminal.\n\n"
               "Type:  'help' for help with commands\n       'quit' to quit\n\n");
    }
    rl_readline_name = "vireo";
    rl_attempted_completion_function = complete;
    rl_basic_word_break_characters = " \t\n\\`@$><=;|&{(";
    stifle_history(HISTORY_LINES);
    if (dir != NULL && path_make_folders(dir, 0755, NULL) == 0) {
        (void)read_history(file);
    }
    while (!sh->quit) {
        AUTO_FREE char *line = readline(sh->readonly ? "vireo > " : "vireo # ");

        if (line == NULL) {
            printf("\n");
            break;
        }
        if (*line != '\0') {
            add_history(line);
            (void)shell_line(sh, line);
        }
    }
    if (file != NULL) {
        (void)write_history(file);
    }
    return 0;
}
