/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_self.c - the shell's own commands, and every group of commands. */
#include "tools/vireo/shell.h"

#include <errno.h>
#include <pwd.h>

enum { PATH_BYTES = 4096 };

void shell_print_usage(const struct shell_command *c);

static int change_dir(struct shell *sh, struct args *a)
{
    const char *dir = arg(a, "dir");
    const struct passwd *pw = dir == NULL ? getpwuid(getuid()) : NULL;

    if (!sh->interactive) {
        return error("cd: command valid only in interactive mode");
    }
    dir = dir != NULL ? dir : pw != NULL ? pw->pw_dir : "/";
    return chdir(dir) < 0 ? error("cd: %s: %s", strerror(errno), dir) : 0;
}

static int print_dir(struct shell *sh, struct args *a)
{
    char path[PATH_BYTES];

    (void)sh;
    (void)a;
    if (getcwd(path, sizeof(path)) == NULL) {
        return error("pwd: cannot get current directory: %s", strerror(errno));
    }
    printf("%s\n", path);
    return 0;
}

static void echo_one(const char *s, bool shell)
{
    static const char safe[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./=+,:@%";

    if (!shell || (*s != '\0' && strspn(s, safe) == strlen(s))) {
        printf("%s", s);
        return;
    }
    (void)putchar('\'');
    for (; *s != '\0'; s++) {
        if (*s == '\'') {
            printf("'\\''");
        } else {
            (void)putchar(*s);
        }
    }
    (void)putchar('\'');
}

static int echo(struct shell *sh, struct args *a)
{
    (void)sh;
    for (unsigned i = 0; i < a->n_rest; i++) {
        AUTO_FREE char *xml = arg_set(a, "xml") ? xml_quote(a->rest[i]) : strdup(a->rest[i]);

        printf("%s", i == 0 ? "" : arg_set(a, "split") ? "\n" : " ");
        echo_one(xml != NULL ? xml : "", arg_set(a, "shell"));
    }
    return 0;
}

static int leave(struct shell *sh, struct args *a)
{
    (void)a;
    sh->quit = true;
    return 0;
}

static int connect_to(struct shell *sh, struct args *a)
{
    if (sh->conn != NULL) {
        vireo_connect_close(sh->conn);
        sh->conn = NULL;
    }
    free(sh->uri);
    sh->uri = arg(a, "name") != NULL ? strdup(arg(a, "name")) : NULL;
    sh->readonly = arg_set(a, "readonly");
    return vireo_connect_open(sh->uri, sh->readonly ? VIREO_CONNECT_RO : 0, &sh->conn) < 0
               ? fail("Failed to connect to the hypervisor")
               : 0;
}

static void print_group(const char *keyword)
{
    bool titled = false;

    for (const struct shell_group *const *g = shell_groups; *g != NULL; g++) {
        if (!str_eq((*g)->keyword, keyword)) {
            continue;
        }
        if (!titled) {
            printf(" %s (help keyword '%s'):\n", (*g)->title, (*g)->keyword);
            titled = true;
        }
        for (const struct shell_command *c = (*g)->commands; c->name != NULL; c++) {
            printf("    %-30s %s\n", c->name, c->summary);
        }
    }
    printf("\n");
}

static int help(struct shell *sh, struct args *a)
{
    const char *what = arg(a, "command");
    const struct shell_command *c = what != NULL ? shell_find(what) : NULL;

    (void)sh;
    if (what == NULL) {
        const char *last = "";

        printf("Grouped commands:\n\n");
        for (const struct shell_group *const *g = shell_groups; *g != NULL; g++) {
            if (!str_eq(last, (*g)->keyword)) {
                print_group((*g)->keyword);
            }
            last = (*g)->keyword;
        }
        return 0;
    }
    if (c != NULL) {
        shell_print_usage(c);
        return 0;
    }
    for (const struct shell_group *const *g = shell_groups; *g != NULL; g++) {
        if (str_eq((*g)->keyword, what)) {
            print_group(what);
            return 0;
        }
    }
    return error("command or command group '%s' doesn't exist", what);
}

static const struct shell_command self_commands[] = {
    { "cd", "dir", change_dir, "change the current folder", true },
    { "connect", "name --readonly", connect_to, "connect to another daemon", true },
    { "echo", "--shell --xml --split --err string*", echo, "print words", true },
    { "exit", "", leave, "leave the shell", true },
    { "help", "command", help, "explain a command or a group of commands", true },
    { "pwd", "", print_dir, "print the current folder", true },
    { "quit", "", leave, "leave the shell", true },
    { NULL, NULL, NULL, NULL, false },
};

extern const struct shell_command life_commands[], device_commands[], block_commands[],
    tune_commands[], guest_commands[], migrate_commands[], facts_commands[], monitor_commands[],
    event_commands[], other_event_commands[], host_commands[], checkpoint_commands[],
    interface_commands[], filter_commands[], network_commands[], nodedev_commands[],
    secret_commands[], snapshot_commands[], backup_commands[], pool_commands[], volume_commands[];

#define GROUP(name, key, text) \
    static const struct shell_group group_##name = { key, text, name##_commands }

GROUP(life, "domain", "Domain Management");
GROUP(device, "domain", "Domain Management");
GROUP(block, "domain", "Domain Management");
GROUP(tune, "domain", "Domain Management");
GROUP(guest, "domain", "Domain Management");
GROUP(migrate, "domain", "Domain Management");
GROUP(facts, "domain", "Domain Management");
GROUP(monitor, "monitor", "Domain Monitoring");
GROUP(event, "events", "Events");
GROUP(other_event, "events", "Events");
GROUP(host, "host", "Host and Hypervisor");
GROUP(checkpoint, "checkpoint", "Checkpoint");
GROUP(interface, "interface", "Interface");
GROUP(filter, "filter", "Network Filter");
GROUP(network, "network", "Networking");
GROUP(nodedev, "nodedev", "Node Device");
GROUP(secret, "secret", "Secret");
GROUP(snapshot, "snapshot", "Snapshot");
GROUP(backup, "backup", "Backup");
GROUP(pool, "pool", "Storage Pool");
GROUP(volume, "volume", "Storage Volume");
GROUP(self, "virsh", "The shell itself");

const struct shell_group *const shell_groups[] = {
    &group_life,      &group_device,      &group_block,   &group_tune,
    &group_guest,     &group_migrate,     &group_facts,   &group_monitor,
    &group_event,     &group_other_event, &group_host,    &group_checkpoint,
    &group_interface, &group_filter,      &group_network, &group_nodedev,
    &group_secret,    &group_snapshot,    &group_backup,  &group_pool,
    &group_volume,    &group_self,        NULL,
};
