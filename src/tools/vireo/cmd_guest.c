/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_guest.c - keys for the guest, its agent, the emulator's monitor. */
#include "tools/vireo/keys.h"
#include "tools/vireo/shell.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <signal.h>

char *param_text(const struct vireo_param *p);

static int send_key(struct shell *sh, struct args *a)
{
    static const char *const sets[] = { "linux", "xt",     "atset1", "atset2", "atset3",
                                        "os_x",  "xt_kbd", "usb",    "win32",  "qnum" };
    const char *set = arg(a, "codeset") != NULL ? arg(a, "codeset") : "linux";
    uint32_t codes[16], codeset = 0, n = 0;
    unsigned hold = 0;

    DOMAIN(a, d);
    if (arg_uint(a, "holdtime", &hold) < 0) {
        return -1;
    }
    while (codeset < 10 && !str_eq(sets[codeset], set)) {
        codeset++;
    }
    codeset = str_eq(set, "rfb") ? 9 : codeset;
    if (codeset == 10) {
        return error("unknown codeset: '%s'", set);
    }
    if (a->n_rest == 0) {
        return error("command 'send-key' requires <keycode> option");
    }
    for (unsigned i = 0; i < a->n_rest; i++) {
        uint32_t code;
        int named = codeset == 0 ? key_code(a->rest[i]) : -1;

        if (n == 16) {
            return error("too many keycodes");
        }
        if (named < 0 && str_to_u32(a->rest[i], 65535, &code) < 0) {
            return error("invalid keycode: '%s'", a->rest[i]);
        }
        codes[n++] = named >= 0 ? (uint32_t)named : code;
    }
    return vireo_domain_send_key(sh->conn, &d, codeset, hold, codes, n, 0) < 0 ? fail_last() : 0;
}

static int inject_nmi(struct shell *sh, struct args *a)
{
    DOMAIN(a, d);
    return vireo_domain_inject_nmi(sh->conn, &d, 0) < 0 ? fail_last() : 0;
}

static int send_signal(struct shell *sh, struct args *a)
{
    int64_t pid;
    uint32_t number;
    const char *name = arg(a, "signame");

    DOMAIN(a, d);
    if (str_to_i64(arg(a, "pid"), 10, &pid) < 0) {
        return error("malformed PID value: %s", arg(a, "pid"));
    }
    if (str_to_u32(name, 64, &number) < 0) {
        const char *bare = strncasecmp(name, "sig", 3) == 0 ? name + 3 : name;

        number = 0;
        for (uint32_t s = 1; s < 32; s++) {
            const char *known = sigabbrev_np((int)s);

            number = known != NULL && strcasecmp(known, bare) == 0 ? s : number;
        }
        if (number == 0) {
            return error("malformed signal name: %s", name);
        }
    }
    return vireo_domain_send_process_signal(sh->conn, &d, pid, number, 0) < 0 ? fail_last() : 0;
}

/* ---- the agent ---- */

static int fsfreeze(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_fsfreeze_ret *ret = NULL;

    DOMAIN(a, d);
    if (vireo_domain_fsfreeze(sh->conn, &d, a->rest, a->n_rest, 0, &ret) < 0) {
        return fail("Unable to freeze filesystems");
    }
    extra(sh, "Froze %d filesystem(s)\n", ret->filesystems);
    return 0;
}

static int fsthaw(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_fsthaw_ret *ret = NULL;

    DOMAIN(a, d);
    if (vireo_domain_fsthaw(sh->conn, &d, a->rest, a->n_rest, 0, &ret) < 0) {
        return fail("Unable to thaw filesystems");
    }
    extra(sh, "Thawed %d filesystem(s)\n", ret->filesystems);
    return 0;
}

static int fstrim(struct shell *sh, struct args *a)
{
    unsigned long long minimum = 0;

    DOMAIN(a, d);
    if (arg_ull(a, "minimum", &minimum) < 0) {
        return -1;
    }
    return vireo_domain_fstrim(sh->conn, &d, arg(a, "mountpoint"), minimum, 0) < 0
               ? fail("Unable to invoke fstrim")
               : 0;
}

static int fsinfo(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_fsinfo_ret *ret = NULL;
    struct table *t;

    DOMAIN(a, d);
    if (vireo_domain_get_fsinfo(sh->conn, &d, 0, &ret) < 0) {
        return fail("Unable to get filesystem information");
    }
    if (ret->n_info == 0) {
        (void)error("No filesystems are mounted in the domain");
        return 0;
    }
    t = table_new("Mountpoint", "Name", "Type", "Target", NULL);
    for (uint32_t i = 0; i < ret->n_info; i++) {
        struct strbuf b = STRBUF_INIT(65536);
        AUTO_FREE char *targets = NULL;

        for (uint32_t k = 0; k < ret->info[i].n_dev_aliases; k++) {
            strbuf_printf(&b, "%s%s", k > 0 ? "," : "", ret->info[i].dev_aliases[k]);
        }
        targets = strbuf_take(&b);
        table_row(t, ret->info[i].mountpoint, ret->info[i].name, ret->info[i].fstype, targets);
    }
    table_print(t, sh, true);
    return 0;
}

static int guestinfo(struct shell *sh, struct args *a)
{
    static const struct flag kinds[] = { { "user", 1 },        { "os", 2 },
                                         { "timezone", 4 },    { "hostname", 8 },
                                         { "filesystem", 16 }, { "disk", 32 },
                                         { "interface", 64 },  { NULL, 0 } };
    AUTO_RET struct vireo_domain_get_guest_info_ret *ret = NULL;

    DOMAIN(a, d);
    if (vireo_domain_get_guest_info(sh->conn, &d, arg_flags(a, kinds), 0, &ret) < 0) {
        return fail_last();
    }
    for (uint32_t i = 0; i < ret->n_params; i++) {
        AUTO_FREE char *text = param_text(&ret->params[i]);

        printf("%-20s: %s\n", ret->params[i].field, text != NULL ? text : "");
    }
    return 0;
}

static int host_name(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_hostname_ret *ret = NULL;
    const char *source = arg(a, "source");
    uint32_t flags = source == NULL            ? 0
                     : str_eq(source, "lease") ? 1
                     : str_eq(source, "agent") ? 2
                                               : 99;

    DOMAIN(a, d);
    if (flags == 99) {
        return error("Unknown data source '%s'", source);
    }
    if (vireo_domain_get_hostname(sh->conn, &d, flags, &ret) < 0) {
        return fail("failed to get hostname");
    }
    printf("%s\n", ret->hostname);
    return 0;
}

static int set_password(struct shell *sh, struct args *a)
{
    DOMAIN(a, d);
    if (vireo_domain_set_user_password(sh->conn, &d, arg(a, "user"), arg(a, "password"),
                                       arg_set(a, "encrypted") ? 1 : 0) < 0) {
        return fail_last();
    }
    extra(sh, "\nPassword set successfully for %s in %s", arg(a, "user"), d.name);
    return 0;
}

static int get_keys(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_authorized_ssh_keys_get_ret *ret = NULL;

    DOMAIN(a, d);
    if (vireo_domain_authorized_ssh_keys_get(sh->conn, &d, arg(a, "user"), 0, &ret) < 0) {
        return fail_last();
    }
    for (uint32_t i = 0; i < ret->n_keys; i++) {
        printf("%s", ret->keys[i]);
    }
    return 0;
}

static int set_keys(struct shell *sh, struct args *a)
{
    AUTO_FREE char *text = arg(a, "file") != NULL ? read_file(arg(a, "file")) : NULL;
    const char *keys[256];
    uint32_t n = 0;

    DOMAIN(a, d);
    if (arg_exclusive(a, "reset", "remove") || (arg(a, "file") != NULL && text == NULL)) {
        return -1;
    }
    for (char *p = text; p != NULL && n < 256;) {
        char *line = strsep(&p, "\n");

        if (*line != '\0') {
            keys[n++] = line;
        }
    }
    return vireo_domain_authorized_ssh_keys_set(sh->conn, &d, arg(a, "user"), keys, n,
                                                arg_set(a, "remove")  ? 2
                                                : arg_set(a, "reset") ? 0
                                                                      : 1) < 0
               ? fail_last()
               : 0;
}

static char *join(struct args *a)
{
    struct strbuf b = STRBUF_INIT(1 << 20);

    for (unsigned i = 0; i < a->n_rest; i++) {
        strbuf_printf(&b, "%s%s", i > 0 ? " " : "", a->rest[i]);
    }
    return strbuf_take(&b);
}

/* As virsh prints a reply: as it came, or laid out. */
static int print_reply(const char *text, bool pretty)
{
    struct json_object *o = pretty ? json_tokener_parse(text) : NULL;

    if (o != NULL) {
        printf("%s\n\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
                                                               JSON_C_TO_STRING_NOSLASHESCAPE |
                                                               JSON_C_TO_STRING_SPACED));
        json_object_put(o);
    } else {
        printf("%s\n", text);
    }
    return 0;
}

static int agent_command(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_agent_command_ret *ret = NULL;
    AUTO_FREE char *text = join(a);
    int timeout = -2, r;

    DOMAIN(a, d);
    if ((r = arg_int(a, "timeout", &timeout)) < 0 || text == NULL) {
        return -1;
    }
    if (r + arg_set(a, "async") + arg_set(a, "block") > 1) {
        return error("timeout, async and block options are exclusive");
    }
    if (r == 1 && timeout < 1) {
        return error("timeout must be positive");
    }
    timeout = arg_set(a, "async") ? 0 : arg_set(a, "block") ? -2 : r == 1 ? timeout : -2;
    if (vireo_domain_agent_command(sh->conn, &d, text, timeout, 0, &ret) < 0) {
        return fail_last();
    }
    if (ret->result != NULL) {
        (void)print_reply(ret->result, arg_set(a, "pretty"));
    }
    return 0;
}

static int agent_timeout(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_agent_set_response_timeout_ret *ret = NULL;
    int timeout = -2;

    DOMAIN(a, d);
    if (arg_int(a, "timeout", &timeout) < 0) {
        return -1;
    }
    return vireo_domain_agent_set_response_timeout(sh->conn, &d, timeout, 0, &ret) < 0 ? fail_last()
                                                                                       : 0;
}

/* ---- the emulator ---- */

/* A bare word is a command, what follows its arguments: "query-status", "device_del {...}",
 * "device_del "id":"x"". */
static char *wrap_command(struct args *a)
{
    struct strbuf b = STRBUF_INIT(1 << 20);

    if (*a->rest[0] == '{') {
        return join(a);
    }
    strbuf_printf(&b, "{\"execute\":\"%s\"", a->rest[0]);
    if (a->n_rest > 1) {
        bool object = *a->rest[1] == '{';

        strbuf_puts(&b, object ? ",\"arguments\":" : ",\"arguments\":{");
        for (unsigned i = 1; i < a->n_rest; i++) {
            strbuf_puts(&b, a->rest[i]);
        }
        strbuf_puts(&b, object ? "" : "}");
    }
    strbuf_puts(&b, "}");
    return strbuf_take(&b);
}

static int monitor_command(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_monitor_command_ret *ret = NULL;
    bool hmp = arg_set(a, "hmp");
    AUTO_FREE char *text = hmp ? join(a) : wrap_command(a);
    bool pretty = arg_set(a, "pretty");

    DOMAIN(a, d);
    if (arg_exclusive(a, "hmp", "pretty") || arg_exclusive(a, "hmp", "return-value") ||
        text == NULL) {
        return -1;
    }
    if (vireo_domain_monitor_command(sh->conn, &d, text, hmp ? 1 : 0, &ret) < 0) {
        return fail_last();
    }
    if (arg_set(a, "return-value")) {
        struct json_object *o = json_tokener_parse(ret->result), *v;

        if (o != NULL && json_object_object_get_ex(o, "return", &v)) {
            (void)print_reply(json_object_to_json_string_ext(v, JSON_C_TO_STRING_PLAIN |
                                                                    JSON_C_TO_STRING_NOSLASHESCAPE),
                              pretty);
        } else {
            (void)error("'return' member missing");
        }
        json_object_put(o);
        return 0;
    }
    return print_reply(ret->result, pretty);
}

static int qemu_attach(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_attach_ret *ret = NULL;
    unsigned pid = 0;

    if (arg_uint(a, "pid", &pid) < 0) {
        return -1;
    }
    if (vireo_domain_attach(sh->conn, pid, 0, &ret) < 0) {
        return fail("Failed to attach to pid %u", pid);
    }
    extra(sh, "Domain '%s' attached to pid %u\n", ret->dom.name, pid);
    return 0;
}

static int unsupported(struct shell *sh, struct args *a)
{
    (void)sh;
    return error("command '%s' needs a container driver, which this hypervisor is not",
                 a->command->name);
}

static int launch_info(struct shell *sh, struct args *a)
{
    AUTO_RET struct vireo_domain_get_launch_security_info_ret *ret = NULL;

    DOMAIN(a, d);
    if (vireo_domain_get_launch_security_info(sh->conn, &d, 0, &ret) < 0) {
        return fail("Unable to get launch security parameters");
    }
    for (uint32_t i = 0; i < ret->n_params; i++) {
        AUTO_FREE char *text = param_text(&ret->params[i]);

        printf("%-15s: %s\n", ret->params[i].field, text != NULL ? text : "");
    }
    return 0;
}

static int set_launch(struct shell *sh, struct args *a)
{
    AUTO_FREE char *header = arg(a, "secrethdr") != NULL ? read_file(arg(a, "secrethdr")) : NULL;
    AUTO_FREE char *secret = arg(a, "secret") != NULL ? read_file(arg(a, "secret")) : NULL;
    struct vireo_param params[3];
    unsigned long long at = 0;
    uint32_t n = 0;

    DOMAIN(a, d);
    if (header == NULL || secret == NULL) {
        return error("Both secret and the secret header are required");
    }
    params[n++] = (struct vireo_param) { .field = (char *)(uintptr_t) "sev-secret-header",
                                         .kind = VIREO_PARAM_STRING,
                                         .value.s = header };
    params[n++] = (struct vireo_param) { .field = (char *)(uintptr_t) "sev-secret",
                                         .kind = VIREO_PARAM_STRING,
                                         .value.s = secret };
    if (arg_ull(a, "set-address", &at) == 1) {
        params[n++] = (struct vireo_param) { .field = (char *)(uintptr_t) "sev-secret-set-address",
                                             .kind = VIREO_PARAM_ULLONG,
                                             .value.ul = at };
    }
    return vireo_domain_set_launch_security_state(sh->conn, &d, params, n, 0) < 0 ? fail_last() : 0;
}

const struct shell_command guest_commands[] = {
    { "domfsfreeze", "domain! mountpoint*", fsfreeze,
      "let the guest stop writing to its file systems", false },
    { "domfsinfo", "domain!", fsinfo, "list the guest's mounted file systems", false },
    { "domfsthaw", "domain! mountpoint*", fsthaw, "let the guest write again", false },
    { "domfstrim", "domain! minimum# mountpoint", fstrim, "let the guest give unused blocks back",
      false },
    { "domhostname", "domain! source", host_name, "show the guest's host name", false },
    { "domlaunchsecinfo", "domain!", launch_info, "show launch security information", false },
    { "domsetlaunchsecstate", "domain! secrethdr secret set-address#", set_launch,
      "give a secret to a guest that starts measured", false },
    { "get-user-sshkeys", "domain! user!", get_keys, "list a guest user's SSH keys", false },
    { "guest-agent-timeout", "domain! timeout#", agent_timeout,
      "set how long the guest agent is waited for", false },
    { "guestinfo", "domain! --user --os --timezone --hostname --filesystem --disk --interface",
      guestinfo, "show what the guest agent knows", false },
    { "inject-nmi", "domain!", inject_nmi, "send a non-maskable interrupt", false },
    { "lxc-enter-namespace", "domain! --noseclabel cmd*", unsupported,
      "run a command in a container", false },
    { "qemu-agent-command", "domain! timeout#= --async --block --pretty cmd*!", agent_command,
      "send a command to the guest agent", false },
    { "qemu-attach", "pid!", qemu_attach, "attach to a running emulator", false },
    { "qemu-monitor-command", "domain! --hmp --pretty --return-value pass-fds= cmd*!",
      monitor_command, "send a command to the emulator's monitor", false },
    { "send-key", "domain! codeset= holdtime#= keycode*", send_key, "press keys", false },
    { "send-process-signal", "domain! pid! signame!", send_signal, "signal a process of a guest",
      false },
    { "set-user-password", "domain! user! password! --encrypted", set_password,
      "set a guest user's password", false },
    { "set-user-sshkeys", "domain! user! file --reset --remove", set_keys,
      "set a guest user's SSH keys", false },
    { NULL, NULL, NULL, NULL, false },
};
