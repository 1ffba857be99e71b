/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cmd_domain.c - virsh's commands for domains, over the daemon: same names, options, output and
 * exit codes. Every one takes -c URI (or $VIREO_URI, $LIBVIRT_DEFAULT_URI).
 */
#include "base/str.h"
#include "client/connection.h"
#include "os/fd.h"
#include "rpc/protocol/remote.h"
#include "tools/vireo/command.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

enum { XML_MAX = 10 << 20, LIST_ACTIVE = 1, LIST_INACTIVE = 2 };

/* What the arguments of a command say. */
struct words {
    const char *uri;
    const char *domain; /* the first word that is no option */
    bool all, inactive, name, uuid, paused, managed_save, snapshots, nvram, disable, security;
};

static const struct {
    const char *option;
    size_t at;
} options[] = {
    { "--all", offsetof(struct words, all) },
    { "--inactive", offsetof(struct words, inactive) },
    { "--name", offsetof(struct words, name) },
    { "--uuid", offsetof(struct words, uuid) },
    { "--paused", offsetof(struct words, paused) },
    { "--managed-save", offsetof(struct words, managed_save) },
    { "--snapshots-metadata", offsetof(struct words, snapshots) },
    { "--nvram", offsetof(struct words, nvram) },
    { "--disable", offsetof(struct words, disable) },
    { "--security-info", offsetof(struct words, security) },
};

static int parse(int argc, char **argv, struct words *w, struct err **err)
{
    memset(w, 0, sizeof(*w));
    w->uri = getenv("VIREO_URI") != NULL ? getenv("VIREO_URI") : getenv("LIBVIRT_DEFAULT_URI");
    for (int i = 1; i < argc; i++) {
        bool known = false;

        if ((str_eq(argv[i], "-c") || str_eq(argv[i], "--connect")) && i + 1 < argc) {
            w->uri = argv[++i];
            continue;
        }
        for (size_t k = 0; k < sizeof(options) / sizeof(options[0]); k++) {
            if (str_eq(argv[i], options[k].option)) {
                *(bool *)(void *)((char *)w + options[k].at) = true;
                known = true;
            }
        }
        if (known) {
            continue;
        }
        if (argv[i][0] == '-' || w->domain != NULL) {
            return err_set(err, EINVAL, "command '%s' doesn't support option %s", argv[0], argv[i]);
        }
        w->domain = argv[i];
    }
    return 0;
}

/* A connection and what its replies live in. */
struct session {
    struct words w;
    struct connection *c;
    struct arena a;
    struct remote_domain dom;
};

static void session_end(struct session *s)
{
    s->c = connection_close(s->c);
    arena_done(&s->a);
}

static int is_number(const char *s, int32_t *ret)
{
    int64_t v;

    if (str_to_i64(s, 10, &v) < 0 || v < 0 || v > INT32_MAX) {
        return false;
    }
    *ret = (int32_t)v;
    return true;
}

/* By id or name, as virsh looks. */
static int find_domain(struct session *s, struct err **err)
{
    struct remote_domain_lookup_by_id_args by_id;
    struct remote_domain_lookup_by_id_ret found_id;
    struct remote_domain_lookup_by_name_args by_name = { .name = (char *)(uintptr_t)s->w.domain };
    struct remote_domain_lookup_by_name_ret found;
    int r;

    if (is_number(s->w.domain, &by_id.id) &&
        connection_call(s->c, &remote_program, REMOTE_DOMAIN_LOOKUP_BY_ID, &by_id, &found_id, &s->a,
                        NULL) == 0) {
        s->dom = found_id.dom;
        return 0;
    }
    r = connection_call(s->c, &remote_program, REMOTE_DOMAIN_LOOKUP_BY_NAME, &by_name, &found,
                        &s->a, NULL);
    if (r < 0) {
        return err_set(err, ENOENT, "failed to get domain '%s'", s->w.domain);
    }
    s->dom = found.dom;
    return 0;
}

static int begin(int argc, char **argv, bool domain, struct session *s, struct err **err)
{
    int r;

    memset(s, 0, sizeof(*s));
    s->a = (struct arena)ARENA_INIT(CLIENT_ARENA_MAX);
    r = parse(argc, argv, &s->w, err);
    if (r == 0 && domain && s->w.domain == NULL) {
        return err_set(err, EINVAL, "command '%s' requires <domain> option", argv[0]);
    }
    r = r == 0 ? connection_open(s->w.uri, false, &s->c, err) : r;
    return r == 0 && domain ? find_domain(s, err) : r;
}

/* virsh's exit status for a failed command; main() prints the text. */
static int failed(struct err **err, const char *fmt, const char *name)
{
    AUTO_FREE char *head = str_format(fmt, name);

    err_prefix(err, "%s\nerror: ", head != NULL ? head : "");
    return err != NULL && *err != NULL ? -(*err)->code : -EIO;
}

static const char *const states[] = { "no state",    "running",  "idle",    "paused",
                                      "in shutdown", "shut off", "crashed", "pmsuspended" };

static const char *state_name(int state)
{
    return state >= 0 && (size_t)state < sizeof(states) / sizeof(states[0]) ? states[state]
                                                                            : states[0];
}

static int state_of(struct session *s, const struct remote_domain *d, int *ret, struct err **err)
{
    struct remote_domain_get_state_args args = { .dom = *d };
    struct remote_domain_get_state_ret state;
    int r =
        connection_call(s->c, &remote_program, REMOTE_DOMAIN_GET_STATE, &args, &state, &s->a, err);

    *ret = r == 0 ? state.state : 0;
    return r;
}

/* Running ones by id, then the others by name. */
static int by_id_then_name(const void *a, const void *b)
{
    const struct remote_domain *x = a, *y = b;

    if (x->id != y->id && (x->id >= 0 || y->id >= 0)) {
        return x->id < 0 ? 1 : y->id < 0 ? -1 : x->id < y->id ? -1 : 1;
    }
    return strcasecmp(x->name, y->name);
}

static int list(int argc, char **argv, struct err **err)
{
    CLEANUP(session_end) struct session s;
    struct remote_connect_list_all_domains_args args = { .need_results = 1 };
    struct remote_connect_list_all_domains_ret ret;
    int id_width = 2, name_width = 4, state_width = 5, r = begin(argc, argv, false, &s, err);

    if (r < 0) {
        return r;
    }
    args.flags = s.w.all ? LIST_ACTIVE | LIST_INACTIVE : s.w.inactive ? LIST_INACTIVE : LIST_ACTIVE;
    r = connection_call(s.c, &remote_program, REMOTE_CONNECT_LIST_ALL_DOMAINS, &args, &ret, &s.a,
                        err);
    if (r < 0) {
        return failed(err, "Failed to list domains%s", "");
    }
    qsort(ret.domains, ret.n_domains, sizeof(*ret.domains), by_id_then_name);
    if (s.w.name) {
        for (uint32_t i = 0; i < ret.n_domains; i++) {
            printf("%s\n", ret.domains[i].name);
        }
        printf("\n");
        return 0;
    }
    for (uint32_t i = 0; i < ret.n_domains; i++) {
        int state, n = snprintf(NULL, 0, "%d", ret.domains[i].id);

        (void)state_of(&s, &ret.domains[i], &state, NULL);
        id_width = n > id_width ? n : id_width;
        n = (int)strlen(ret.domains[i].name);
        name_width = n > name_width ? n : name_width;
        n = (int)strlen(state_name(state));
        state_width = n > state_width ? n : state_width;
    }
    printf(" %-*s   %-*s   %s\n", id_width, "Id", name_width, "Name", "State");
    for (int i = 0; i < id_width + name_width + state_width + 9; i++) {
        (void)putchar('-');
    }
    (void)putchar('\n');
    for (uint32_t i = 0; i < ret.n_domains; i++) {
        char id[16] = "-";
        int state;

        (void)state_of(&s, &ret.domains[i], &state, NULL);
        if (ret.domains[i].id >= 0) {
            (void)snprintf(id, sizeof(id), "%d", ret.domains[i].id);
        }
        printf(" %-*s   %-*s   %s\n", id_width, id, name_width, ret.domains[i].name,
               state_name(state));
    }
    printf("\n");
    return 0;
}

static int read_xml(const char *path, char **ret, struct err **err)
{
    size_t len;
    int r = path != NULL ? file_slurp(path, XML_MAX, ret, &len) : -EINVAL;

    return r < 0 ? err_set(err, -r, "Failed to open file '%s': %s", path != NULL ? path : "",
                           strerror(-r))
                 : 0;
}

static int define(int argc, char **argv, struct err **err)
{
    CLEANUP(session_end) struct session s;
    struct remote_domain_define_xml_flags_args args = { 0 };
    struct remote_domain_define_xml_flags_ret ret;
    AUTO_FREE char *xml = NULL;
    int r = begin(argc, argv, false, &s, err);

    r = r == 0 ? read_xml(s.w.domain, &xml, err) : r;
    if (r < 0) {
        return r;
    }
    args.xml = xml;
    if (connection_call(s.c, &remote_program, REMOTE_DOMAIN_DEFINE_XML_FLAGS, &args, &ret, &s.a,
                        err) < 0) {
        return failed(err, "Failed to define domain from %s", s.w.domain);
    }
    printf("Domain '%s' defined from %s\n\n", ret.dom.name, s.w.domain);
    return 0;
}

static int create(int argc, char **argv, struct err **err)
{
    CLEANUP(session_end) struct session s;
    struct remote_domain_create_xml_args args = { 0 };
    struct remote_domain_create_xml_ret ret;
    AUTO_FREE char *xml = NULL;
    int r = begin(argc, argv, false, &s, err);

    r = r == 0 ? read_xml(s.w.domain, &xml, err) : r;
    if (r < 0) {
        return r;
    }
    args.xml_desc = xml;
    args.flags = s.w.paused ? 1 : 0;
    if (connection_call(s.c, &remote_program, REMOTE_DOMAIN_CREATE_XML, &args, &ret, &s.a, err) <
        0) {
        return failed(err, "Failed to create domain from %s", s.w.domain);
    }
    printf("Domain '%s' created from %s\n\n", ret.dom.name, s.w.domain);
    return 0;
}

static int start(int argc, char **argv, struct err **err)
{
    CLEANUP(session_end) struct session s;
    struct remote_domain_create_with_flags_args args = { 0 };
    struct remote_domain_create_with_flags_ret ret;
    int r = begin(argc, argv, true, &s, err);

    if (r < 0) {
        return r;
    }
    if (s.dom.id >= 0) {
        return err_set(err, EINVAL, "Domain is already active");
    }
    args.dom = s.dom;
    args.flags = s.w.paused ? 1 : 0;
    if (connection_call(s.c, &remote_program, REMOTE_DOMAIN_CREATE_WITH_FLAGS, &args, &ret, &s.a,
                        err) < 0) {
        return failed(err, "Failed to start domain '%s'", s.dom.name);
    }
    printf("Domain '%s' started\n\n", s.dom.name);
    return 0;
}

static int dumpxml(int argc, char **argv, struct err **err)
{
    CLEANUP(session_end) struct session s;
    struct remote_domain_get_xml_desc_args args = { 0 };
    struct remote_domain_get_xml_desc_ret ret;
    int r = begin(argc, argv, true, &s, err);

    if (r < 0) {
        return r;
    }
    args.dom = s.dom;
    args.flags = (s.w.security ? 1u : 0) | (s.w.inactive ? 2u : 0);
    r = connection_call(s.c, &remote_program, REMOTE_DOMAIN_GET_XML_DESC, &args, &ret, &s.a, err);
    if (r == 0) {
        printf("%s\n", ret.xml);
    }
    return r;
}

static int domstate(int argc, char **argv, struct err **err)
{
    CLEANUP(session_end) struct session s;
    int state, r = begin(argc, argv, true, &s, err);

    r = r == 0 ? state_of(&s, &s.dom, &state, err) : r;
    if (r == 0) {
        printf("%s\n\n", state_name(state));
    }
    return r;
}

static int undefine(int argc, char **argv, struct err **err)
{
    CLEANUP(session_end) struct session s;
    struct remote_domain_undefine_flags_args args = { 0 };
    int r = begin(argc, argv, true, &s, err);

    if (r < 0) {
        return r;
    }
    args.dom = s.dom;
    args.flags = (s.w.managed_save ? 1u : 0) | (s.w.snapshots ? 2u : 0) | (s.w.nvram ? 4u : 0);
    if (connection_call(s.c, &remote_program, REMOTE_DOMAIN_UNDEFINE_FLAGS, &args, NULL, &s.a,
                        err) < 0) {
        return failed(err, "Failed to undefine domain '%s'", s.dom.name);
    }
    printf("Domain '%s' has been undefined\n\n", s.dom.name);
    return 0;
}

static int autostart(int argc, char **argv, struct err **err)
{
    CLEANUP(session_end) struct session s;
    struct remote_domain_set_autostart_args args = { 0 };
    int r = begin(argc, argv, true, &s, err);

    if (r < 0) {
        return r;
    }
    args.dom = s.dom;
    args.autostart = !s.w.disable;
    if (connection_call(s.c, &remote_program, REMOTE_DOMAIN_SET_AUTOSTART, &args, NULL, &s.a, err) <
        0) {
        return failed(err,
                      s.w.disable ? "Failed to unmark domain '%s' as autostarted"
                                  : "Failed to mark domain '%s' as autostarted",
                      s.dom.name);
    }
    printf(s.w.disable ? "Domain '%s' unmarked as autostarted\n\n"
                       : "Domain '%s' marked as autostarted\n\n",
           s.dom.name);
    return 0;
}

/* Calls whose only argument is the domain (and flags that stay 0). */
static int simple(int argc, char **argv, int proc, const char *done, const char *fail,
                  struct err **err)
{
    CLEANUP(session_end) struct session s;
    /* The layout all of them begin with; those with flags have them next. */
    struct remote_domain_managed_save_args args = { 0 };
    int r = begin(argc, argv, true, &s, err);

    if (r < 0) {
        return r;
    }
    args.dom = s.dom;
    if (connection_call(s.c, &remote_program, proc, &args, NULL, &s.a, err) < 0) {
        return failed(err, fail, s.dom.name);
    }
    printf(done, s.dom.name);
    return 0;
}

#define SIMPLE(fn, proc, done, fail)                             \
    static int fn(int argc, char **argv, struct err **err)       \
    {                                                            \
        return simple(argc, argv, proc, done "\n\n", fail, err); \
    }

SIMPLE(destroy, REMOTE_DOMAIN_DESTROY, "Domain '%s' destroyed", "Failed to destroy domain '%s'")
SIMPLE(shut_down, REMOTE_DOMAIN_SHUTDOWN, "Domain '%s' is being shutdown",
       "Failed to shutdown domain '%s'")
SIMPLE(reboot, REMOTE_DOMAIN_REBOOT, "Domain '%s' is being rebooted",
       "Failed to reboot domain '%s'")
SIMPLE(reset, REMOTE_DOMAIN_RESET, "Domain '%s' was reset", "Failed to reset domain '%s'")
SIMPLE(suspend, REMOTE_DOMAIN_SUSPEND, "Domain '%s' suspended", "Failed to suspend domain '%s'")
SIMPLE(resume, REMOTE_DOMAIN_RESUME, "Domain '%s' resumed", "Failed to resume domain '%s'")
SIMPLE(managedsave, REMOTE_DOMAIN_MANAGED_SAVE, "Domain '%s' state saved by libvirt",
       "Failed to save domain '%s' state")

/* virsh says "error:" before each line of a failure, and ends its output with an empty line. */
static int as_virsh(int r, struct err **err)
{
    if (r >= 0) {
        return r;
    }
    printf("\n");
    (void)fflush(stdout);
    (void)fprintf(stderr, "error: %s\n", err != NULL && *err != NULL ? (*err)->text : strerror(-r));
    return 1;
}

#define RUN(fn)                                                  \
    static int run_##fn(int argc, char **argv, struct err **err) \
    {                                                            \
        return as_virsh(fn(argc, argv, err), err);               \
    }

RUN(list)
RUN(define)
RUN(create)
RUN(start)
RUN(shut_down)
RUN(reboot)
RUN(reset)
RUN(destroy)
RUN(suspend)
RUN(resume)
RUN(managedsave)
RUN(dumpxml)
RUN(domstate)
RUN(autostart)
RUN(undefine)

#define DOMAIN   "[-c URI] DOMAIN"
#define FILE_ARG "[-c URI] FILE"

const struct command command_list = { "list", "[-c URI] [--all] [--inactive] [--name]",
                                      "list domains", NULL, run_list };
const struct command command_define = { "define", FILE_ARG, "define a domain from an XML file",
                                        NULL, run_define };
const struct command command_create = { "create", FILE_ARG " [--paused]",
                                        "start a domain from an XML file once", NULL, run_create };
const struct command command_start = { "start", DOMAIN " [--paused]", "start a defined domain",
                                       NULL, run_start };
const struct command command_shutdown = { "shutdown", DOMAIN, "ask a domain to shut down", NULL,
                                          run_shut_down };
const struct command command_reboot = { "reboot", DOMAIN, "ask a domain to reboot", NULL,
                                        run_reboot };
const struct command command_reset = { "reset", DOMAIN, "reset a domain as its button does", NULL,
                                       run_reset };
const struct command command_destroy = { "destroy", DOMAIN, "end a domain at once", NULL,
                                         run_destroy };
const struct command command_suspend = { "suspend", DOMAIN, "pause a domain", NULL, run_suspend };
const struct command command_resume = { "resume", DOMAIN, "let a paused domain go on", NULL,
                                        run_resume };
const struct command command_managedsave = { "managedsave", DOMAIN,
                                             "save a domain's state; the next start goes on", NULL,
                                             run_managedsave };
const struct command command_dumpxml = { "dumpxml", DOMAIN " [--inactive] [--security-info]",
                                         "print a domain's definition", NULL, run_dumpxml };
const struct command command_domstate = { "domstate", DOMAIN, "print a domain's state", NULL,
                                          run_domstate };
const struct command command_autostart = { "autostart", DOMAIN " [--disable]",
                                           "start a domain with the daemon", NULL, run_autostart };
const struct command command_undefine = { "undefine",
                                          DOMAIN
                                          " [--managed-save] [--snapshots-metadata] [--nvram]",
                                          "forget a domain's definition", NULL, run_undefine };
