/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/daemon/config.h"

#include "base/log.h"
#include "base/str.h"
#include "mgmt/access/access.h"
#include "mgmt/driver/qemu/caps.h"
#include "mgmt/storage/image.h"
#include "mgmt/transport/x509.h"
#include "os/fd.h"
#include "os/path.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

enum { CONFIG_MAX = 1 << 20, LIST_MAX = 64 };
enum {
    OPT_SYSTEM = 256,
    OPT_SESSION,
    OPT_SOCKET,
    OPT_ROOT,
    OPT_CONFIG,
    OPT_EMULATOR,
    OPT_IMAGE_TOOL
};

static const char usage[] =
    "usage: vireod [OPTION]...\n\n"
    "The management daemon: libvirt's clients manage virtual machines over its socket.\n\n"
    "  --system            the machine's daemon (default for root)\n"
    "  --session           the user's own daemon (default otherwise)\n"
    "  --socket PATH       listen at PATH (PATH-ro: read only, PATH-admin: administration)\n"
    "  --root DIR          keep everything below DIR: a private instance\n"
    "  -f, --config FILE   read FILE instead of vireod.conf\n"
    "  -l, --listen        also listen for TCP or TLS, as the configuration says\n"
    "  -t, --timeout SECS  end after so long without clients and running domains\n"
    "  --emulator PATH     what domains run that name no emulator\n"
    "  --image-tool PATH   a program with qemu-img's interface\n"
    "  -d, --daemon        go to the background\n"
    "  -v, --verbose       say more\n"
    "  -h, --help          this text\n"
    "  -V, --version       the version\n";

static int set_auth(enum server_auth *to, const char *v, const char *key, struct err **err)
{
    if (str_eq(v, "none")) {
        *to = AUTH_NONE;
    } else if (str_eq(v, "sasl")) {
        *to = AUTH_SASL;
    } else if (str_eq(v, "polkit")) {
        *to = AUTH_POLKIT;
    } else {
        return err_set(err, EINVAL, "%s: unsupported auth '%s' (none, sasl or polkit)", key, v);
    }
    return 0;
}

static int set_number(unsigned *to, const char *v, const char *key, unsigned max, struct err **err)
{
    uint32_t n;

    if (str_to_u32(v, max, &n) < 0) {
        return err_set(err, EINVAL, "%s: '%s' is not a number up to %u", key, v, max);
    }
    *to = n;
    return 0;
}

/* ["a", "b"] */
static int set_names(const char *v, struct err **err)
{
    AUTO_FREE char *copy = strdup(v);
    const char *names[LIST_MAX];
    size_t n = 0;

    for (char *p = copy; p != NULL && (p = strchr(p, '"')) != NULL && n < LIST_MAX;) {
        char *end = strchr(p + 1, '"');

        if (end == NULL) {
            return err_set(err, EINVAL, "tls_allowed_dn_list: a quote is missing");
        }
        *end = '\0';
        names[n++] = p + 1;
        p = end + 1;
    }
    return x509_set_allowed(names, n);
}

static int apply(struct settings *s, const char *key, const char *v, struct err **err)
{
    unsigned n = 0;
    int r;

    if (str_eq(key, "auth_unix_rw")) {
        return set_auth(&s->auth_unix, v, key, err);
    }
    if (str_eq(key, "auth_tcp")) {
        return set_auth(&s->auth_tcp, v, key, err);
    }
    if (str_eq(key, "auth_tls")) {
        return set_auth(&s->auth_tls, v, key, err);
    }
    if (str_eq(key, "listen_tcp") || str_eq(key, "listen_tls")) {
        r = set_number(&n, v, key, 1, err);
        *(str_eq(key, "listen_tcp") ? &s->listen_tcp : &s->listen_tls) = n == 1;
        return r;
    }
    if (str_eq(key, "tcp_port") || str_eq(key, "tls_port")) {
        r = set_number(&n, v, key, 65535, err);
        *(str_eq(key, "tcp_port") ? &s->tcp_port : &s->tls_port) = (uint16_t)n;
        return r;
    }
    if (str_eq(key, "max_clients")) {
        return set_number(&s->max_clients, v, key, CLIENTS_MAX, err);
    }
    if (str_eq(key, "keepalive_interval")) {
        if (str_eq(v, "-1")) {
            s->keepalive_interval = 0;
            return 0;
        }
        return set_number(&s->keepalive_interval, v, key, 86400, err);
    }
    if (str_eq(key, "keepalive_count")) {
        return set_number(&s->keepalive_count, v, key, 1000, err);
    }
    if (str_eq(key, "unix_sock_rw_perms")) {
        s->unix_mode = (unsigned)strtoul(v, NULL, 8) & 0777;
        return 0;
    }
    if (str_eq(key, "access_drivers")) {
        access_enable(strstr(v, "polkit") != NULL);
        return 0;
    }
    if (str_eq(key, "tls_allowed_dn_list")) {
        return set_names(v, err);
    }
    if (str_eq(key, "emulator")) {
        caps_set_emulator(v);
        return 0;
    }
    if (str_eq(key, "image_tool")) {
        image_set_tool(v);
        return 0;
    }
    {
        char **text = str_eq(key, "listen_addr")                 ? &s->listen_addr
                      : str_eq(key, "pki_dir")                   ? &s->pki_dir
                      : str_eq(key, "host_uuid")                 ? &s->host_uuid
                      : str_eq(key, "migrate_tls_x509_cert_dir") ? &s->migrate_tls_dir
                      : str_eq(key, "migration_address")         ? &s->migration_address
                      : str_eq(key, "migration_host")            ? &s->migration_host
                                                                 : NULL;

        if (text == NULL) {
            log_warn("configuration: '%s' is not known and has no effect", key);
            return 0;
        }
        free(*text);
        *text = strdup(v);
        return *text != NULL ? 0 : -ENOMEM;
    }
}

static int read_file(struct settings *s, const char *path, bool must, struct err **err)
{
    AUTO_FREE char *text = NULL;
    size_t len;
    unsigned n = 0;
    int r = file_slurp(path, CONFIG_MAX, &text, &len);

    if (r < 0) {
        return must ? err_set(err, -r, "cannot read '%s': %s", path, strerror(-r)) : 0;
    }
    for (char *line = text; line != NULL && *line != '\0';) {
        char *next = strchr(line, '\n'), *eq, *end;

        n++;
        if (next != NULL) {
            *next++ = '\0';
        }
        while (isspace((unsigned char)*line)) {
            line++;
        }
        if (*line == '#' || *line == '\0') {
            line = next;
            continue;
        }
        eq = strchr(line, '=');
        if (eq == NULL) {
            return err_set(err, EINVAL, "%s:%u: expected KEY = VALUE", path, n);
        }
        end = eq;
        while (end > line && isspace((unsigned char)end[-1])) {
            end--;
        }
        *end = '\0';
        eq++;
        while (isspace((unsigned char)*eq)) {
            eq++;
        }
        end = eq + strlen(eq);
        while (end > eq && isspace((unsigned char)end[-1])) {
            *--end = '\0';
        }
        if (*eq == '"' && end > eq + 1 && end[-1] == '"') {
            end[-1] = '\0';
            eq++;
        }
        r = apply(s, line, eq, err);
        if (r < 0) {
            err_prefix(err, "%s:%u: ", path, n);
            return r;
        }
        line = next;
    }
    return 0;
}

int options_parse(int argc, char **argv, struct options *o, struct err **err)
{
    static const struct option longs[] = {
        { "system", no_argument, NULL, OPT_SYSTEM },
        { "session", no_argument, NULL, OPT_SESSION },
        { "socket", required_argument, NULL, OPT_SOCKET },
        { "root", required_argument, NULL, OPT_ROOT },
        { "config", required_argument, NULL, 'f' },
        { "timeout", required_argument, NULL, 't' },
        { "emulator", required_argument, NULL, OPT_EMULATOR },
        { "image-tool", required_argument, NULL, OPT_IMAGE_TOOL },
        { "listen", no_argument, NULL, 'l' },
        { "daemon", no_argument, NULL, 'd' },
        { "verbose", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { 0 },
    };
    const char *name = strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0];
    bool background = false, listen = false;
    int c, r;

    memset(o, 0, sizeof(*o));
    o->system = geteuid() == 0;
    o->as_libvirtd = str_eq(name, "libvirtd");
    o->settings = (struct settings) { .auth_tcp = AUTH_SASL,
                                      .unix_mode = 0700,
                                      .tcp_port = 16509,
                                      .tls_port = 16514,
                                      .max_clients = CLIENTS_MAX,
                                      .keepalive_interval = 5,
                                      .keepalive_count = 5 };
    while ((c = getopt_long(argc, argv, "f:t:ldvhVp:", longs, NULL)) != -1) {
        switch (c) {
        case OPT_SYSTEM:
        case OPT_SESSION:
            o->system = c == OPT_SYSTEM;
            break;
        case OPT_SOCKET:
            o->socket = optarg;
            break;
        case OPT_ROOT:
            o->root = optarg;
            break;
        case 'f':
            o->config = optarg;
            break;
        case OPT_EMULATOR:
            caps_set_emulator(optarg);
            break;
        case OPT_IMAGE_TOOL:
            image_set_tool(optarg);
            break;
        case 't':
            r = set_number(&o->timeout_seconds, optarg, "--timeout", 1u << 30, err);
            if (r < 0) {
                return r;
            }
            break;
        case 'l':
            listen = true;
            break;
        case 'p':
            break; /* libvirtd's pid file */
        case 'd':
            background = true;
            break;
        case 'v':
            log_set_level(LOG_DEBUG);
            break;
        case 'h':
            (void)fputs(usage, stdout);
            return 1;
        case 'V':
            printf("%s (vireo) %s\n", name, VIREO_VERSION);
            return 1;
        default:
            return err_set(err, EINVAL, "see %s --help", name);
        }
    }
    if (optind < argc) {
        return err_set(err, EINVAL, "unexpected argument '%s'; see %s --help", argv[optind], name);
    }
    {
        AUTO_FREE char *dflt = o->root != NULL ? str_format("%s/etc/vireod.conf", o->root)
                                               : path_of(PATH_CONFIG, o->system, "vireod.conf");

        r = read_file(&o->settings, o->config != NULL ? o->config : (dflt != NULL ? dflt : ""),
                      o->config != NULL, err);
        if (r < 0) {
            return r;
        }
    }
    if (!listen) {
        o->settings.listen_tcp = o->settings.listen_tls = false;
    }
    if (o->settings.pki_dir == NULL) {
        o->settings.pki_dir = strdup("/etc/pki");
    }
    if (o->as_libvirtd) {
        const char *run = getenv("XDG_RUNTIME_DIR"), *home = getenv("HOME");

        o->libvirt_dir = o->system     ? strdup("/run/libvirt")
                         : run != NULL ? str_format("%s/libvirt", run)
                                       : str_format("%s/.cache/libvirt", home != NULL ? home : "");
    }
    return background && daemon(0, 0) < 0 ? err_set(err, errno, "cannot go to the background") : 0;
}
