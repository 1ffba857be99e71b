/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/probe.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/str.h"
#include "mgmt/object/files.h"
#include "mgmt/object/world.h"
#include "mgmt/server/lock.h"
#include "os/fd.h"
#include "os/path.h"
#include "os/process.h"
#include "rpc/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { REPLY_MAX = 32 << 20, CACHE_FORMAT = 2 };

static struct hash *known;

static int slurp_line(int fd, struct strbuf *b)
{
    char buf[65536];

    for (;;) {
        ssize_t n = recv(fd, buf, sizeof(buf), 0);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return -ECONNRESET;
        }
        strbuf_append(b, buf, (size_t)n);
        if (buf[n - 1] == '\n' || b->failed) {
            return b->failed ? -ENOMEM : 0;
        }
    }
}

/* Blocking, one command at a time: a probe is a short-lived program of its own. */
static int ask(int fd, const char *command, struct json_object **ret, struct err **err)
{
    AUTO_FREE char *line = str_format("{\"execute\":\"%s\"}\n", command);
    struct strbuf b = STRBUF_INIT(REPLY_MAX);
    int r = line != NULL ? fd_write_all(fd, line, strlen(line)) : -ENOMEM;

    while (r == 0) {
        AUTO_JSON struct json_object *o = NULL;

        b.len = 0;
        r = slurp_line(fd, &b);
        if (r < 0) {
            break;
        }
        r = json_parse(b.s, b.len, &o, err);
        if (r == 0 && json_member(o, "return") != NULL) {
            if (ret != NULL) {
                *ret = json_object_get(json_member(o, "return"));
            }
            break;
        }
        if (r == 0 && json_member(o, "error") != NULL) {
            const char *desc = "?";

            desc = json_str_or(json_member(o, "error"), "desc", desc);
            r = fault(err, DOM_QEMU, INTERNAL_ERROR, "unable to execute QEMU command '%s': %s",
                      command, desc);
        }
    }
    strbuf_done(&b);
    if (r < 0) {
        return err_set(err, -r, "probing: no answer to '%s'", command);
    }
    return 0;
}

static int probe(const char *path, struct json_object **ret, struct err **err)
{
    static const struct {
        const char *command, *as;
    } questions[] = { { "query-version", "version" },   { "query-target", "target" },
                      { "query-machines", "machines" }, { "query-cpu-definitions", "cpus" },
                      { "query-commands", "commands" }, { "qom-list-types", "types" } };
    int pair[2];
    AUTO_FREE char *dev = NULL;
    AUTO_JSON struct json_object *all = json_object_new_object();
    AUTO_FD int ours = -1;
    struct strbuf greeting = STRBUF_INIT(65536);
    pid_t pid;
    int r;

    if (all == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return -ENOMEM;
    }
    ours = pair[0];
    dev = str_format("socket,id=m,fd=%d", pair[1]);
    {
        const char *const argv[] = {
            path,         "-S",       "-no-user-config",        "-nodefaults",
            "-nographic", "-machine", "none,accel=tcg",         "-chardev",
            dev,          "-mon",     "chardev=m,mode=control", NULL
        };
        struct process_spec spec = {
            .argv = argv, .fd_in = -1, .fd_out = -1, .fd_err = -1, .keep = &pair[1], .n_keep = 1
        };

        r = dev != NULL ? process_spawn(&spec, &pid, err) : -ENOMEM;
    }
    (void)close(pair[1]);
    if (r < 0) {
        return r;
    }
    r = slurp_line(ours, &greeting);
    strbuf_done(&greeting);
    r = r == 0 ? ask(ours, "qmp_capabilities", NULL, err) : r;
    for (size_t i = 0; r == 0 && i < sizeof(questions) / sizeof(questions[0]); i++) {
        struct json_object *v = NULL;

        r = ask(ours, questions[i].command, &v, err);
        if (r < 0 && i >= 3) {
            /* What it does not say it does not have. */
            if (err != NULL) {
                *err = err_free(*err);
            }
            r = 0;
            v = json_object_new_array();
        }
        if (r == 0) {
            r = json_add(all, questions[i].as, v);
        }
    }
    (void)ask(ours, "quit", NULL, NULL);
    (void)kill(pid, SIGKILL);
    (void)process_wait(pid);
    if (r < 0) {
        return fault(err, DOM_QEMU, INTERNAL_ERROR, "Failed to probe QEMU binary '%s'", path);
    }
    *ret = TAKE_PTR(all);
    return 0;
}

static struct emulator *from_facts(const char *path, struct json_object *facts,
                                   const struct stat *st)
{
    struct emulator *e = calloc(1, sizeof(*e));
    struct json_object *q = json_member(json_member(facts, "version"), "qemu");
    int64_t major = 0, minor = 0, micro = 0;
    const char *arch = "x86_64";

    if (e == NULL) {
        return NULL;
    }
    major = json_i64_or(q, "major", major);
    minor = json_i64_or(q, "minor", minor);
    micro = json_i64_or(q, "micro", micro);
    arch = json_str_or(json_member(facts, "target"), "arch", arch);
    e->version = (unsigned long)(major * 1000000 + minor * 1000 + micro);
    e->path = strdup(path);
    e->arch = strdup(arch);
    e->facts = facts;
    e->mtime = st->st_mtime;
    e->size = st->st_size;
    return e;
}

static char *cache_path(const struct world *w, const char *path)
{
    return w->cache_dir != NULL ? str_format("%s/qemu/capabilities/%016llx.json", w->cache_dir,
                                             (unsigned long long)({
                                                 uint64_t h = 14695981039346656037u;

                                                 for (const char *p = path; *p != '\0'; p++) {
                                                     h = (h ^ (uint8_t)*p) * 1099511628211u;
                                                 }
                                                 h;
                                             }))
                                : NULL;
}

static struct json_object *load(const char *file, const struct stat *st)
{
    AUTO_FREE char *text = NULL;
    struct json_object *o = NULL;
    int64_t mtime = 0, size = 0, format = 0;
    size_t len;

    if (file == NULL || file_slurp(file, REPLY_MAX, &text, &len) < 0 ||
        json_parse(text, len, &o, NULL) < 0) {
        return NULL;
    }
    format = json_i64_or(o, "cache-format", format);
    mtime = json_i64_or(o, "cache-mtime", mtime);
    size = json_i64_or(o, "cache-size", size);
    if (format != CACHE_FORMAT || mtime != st->st_mtime || size != st->st_size) {
        json_object_put(o);
        return NULL;
    }
    return o;
}

static const struct emulator *remember(const char *path, struct json_object *facts,
                                       const struct stat *st)
{
    struct emulator *e = from_facts(path, facts, st);

    if (known == NULL) {
        known = hash_new();
    }
    if (e == NULL || known == NULL) {
        return NULL;
    }
    /* An older one stays for those who hold it: an upgrade while running is rare. */
    (void)hash_remove(known, path);
    return hash_add(known, path, e) == 0 ? e : NULL;
}

const struct emulator *emulator_cached(struct world *w, const char *path)
{
    const struct emulator *e = known != NULL ? hash_get(known, path) : NULL;
    AUTO_FREE char *file = NULL;
    struct json_object *facts;
    struct stat st;

    if (stat(path, &st) < 0) {
        return NULL;
    }
    if (e != NULL && e->mtime == st.st_mtime && e->size == st.st_size) {
        return e;
    }
    file = cache_path(w, path);
    facts = load(file, &st);
    return facts != NULL ? remember(path, facts, &st) : NULL;
}

const struct emulator *emulator_get(struct world *w, const char *path, struct err **err)
{
    const struct emulator *e = emulator_cached(w, path);
    AUTO_FREE char *file = NULL;
    struct json_object *facts = NULL;
    struct stat st;
    int r;

    if (e != NULL) {
        return e;
    }
    if (access(path, X_OK) < 0 || stat(path, &st) < 0) {
        (void)fault(err, DOM_QEMU, INVALID_ARG, "Cannot check QEMU binary %s: %s", path,
                    strerror(errno));
        return NULL;
    }
    UNLOCKED(r = probe(path, &facts, err));
    if (r < 0) {
        return NULL;
    }
    (void)json_add_i64(facts, "cache-format", CACHE_FORMAT);
    (void)json_add_i64(facts, "cache-mtime", st.st_mtime);
    (void)json_add_i64(facts, "cache-size", st.st_size);
    file = cache_path(w, path);
    if (file != NULL) {
        CLEANUP(err_freep) struct err *own = NULL;

        if (files_write(file, json_object_to_json_string_ext(facts, JSON_C_TO_STRING_PLAIN), &own) <
            0) {
            log_warn("the emulator's facts are not kept: %s", own->text);
        }
    }
    e = remember(path, facts, &st);
    if (e == NULL) {
        (void)err_set(err, ENOMEM, "no memory");
    }
    return e;
}

static int free_one(const char *key, void *value, void *arg)
{
    struct emulator *e = value;

    (void)key;
    (void)arg;
    json_object_put(e->facts);
    free(e->path);
    free(e->arch);
    free(e);
    return 0;
}

void emulators_done(void)
{
    if (known != NULL) {
        (void)hash_each(known, free_one, NULL);
        known = hash_free(known);
    }
}

const char *emulator_machine(const struct emulator *e, const char *name)
{
    struct json_object *list = json_member(e->facts, "machines");
    size_t n = list != NULL ? json_object_array_length(list) : 0;

    for (size_t i = 0; i < n; i++) {
        struct json_object *m = json_object_array_get_idx(list, i);
        const char *is, *alias;

        if (json_get_str(m, "name", &is, NULL) < 0) {
            continue;
        }
        if (str_eq(is, name) ||
            (json_get_str(m, "alias", &alias, NULL) == 0 && str_eq(alias, name))) {
            return is;
        }
    }
    return NULL;
}

const char *emulator_default_machine(const struct emulator *e)
{
    struct json_object *list = json_member(e->facts, "machines");
    size_t n = list != NULL ? json_object_array_length(list) : 0;

    for (size_t i = 0; i < n; i++) {
        struct json_object *m = json_object_array_get_idx(list, i);
        bool is = false;
        const char *name;

        if (json_get_bool(m, "is-default", &is, NULL) == 0 && is &&
            json_get_str(m, "name", &name, NULL) == 0) {
            return name;
        }
    }
    return emulator_machine(e, "pc");
}

static bool listed(const struct emulator *e, const char *list_name, const char *name)
{
    struct json_object *list = json_member(e->facts, list_name);
    size_t n = list != NULL ? json_object_array_length(list) : 0;

    for (size_t i = 0; i < n; i++) {
        const char *is;

        if (json_get_str(json_object_array_get_idx(list, i), "name", &is, NULL) == 0 &&
            str_eq(is, name)) {
            return true;
        }
    }
    return false;
}

bool emulator_has_type(const struct emulator *e, const char *qom_type)
{
    return listed(e, "types", qom_type);
}

bool emulator_has_command(const struct emulator *e, const char *command)
{
    return listed(e, "commands", command);
}

bool emulator_kvm_usable(void)
{
    static int usable = -1;

    if (usable < 0) {
        AUTO_FD int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
        int vm = fd >= 0 ? ioctl(fd, KVM_CREATE_VM, 0) : -1;

        usable = vm >= 0;
        if (vm >= 0) {
            (void)close(vm);
        }
        log_note("domains of type kvm run on %s",
                 usable ? "the kernel's KVM" : "the emulator's own engine: /dev/kvm is not usable");
    }
    return usable == 1;
}
