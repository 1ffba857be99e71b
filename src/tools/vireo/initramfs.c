/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/vireo/initramfs.h"

#include "base/bytes.h"
#include "base/str.h"
#include "os/fd.h"
#include "os/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

enum { ARCHIVE_MAX = 256 << 20, MAX_MODULES = 128, FILE_MAX = 64 << 20 };

struct archive {
    struct strbuf out;
    unsigned next_inode;
};

static void pad4(struct strbuf *b)
{
    static const char zero[4];

    strbuf_append(b, zero, (4 - b->len % 4) % 4);
}

static void add_entry(struct archive *a, const char *name, unsigned mode, unsigned rdev_major,
                      unsigned rdev_minor, const void *data, size_t len)
{
    strbuf_printf(&a->out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
                  a->next_inode++, mode, 0, 0, 1, 0, (unsigned)len, 0, 0, rdev_major, rdev_minor,
                  (unsigned)strlen(name) + 1, 0);
    strbuf_append(&a->out, name, strlen(name) + 1);
    pad4(&a->out);
    strbuf_append(&a->out, data, len);
    pad4(&a->out);
}

static int add_file(struct archive *a, const char *name, unsigned mode, const char *path,
                    struct err **err)
{
    AUTO_FREE char *data = NULL;
    size_t len = 0;
    int r = file_slurp(path, FILE_MAX, &data, &len);

    if (r < 0) {
        return err_set(err, -r, "cannot read '%s': %s", path, strerror(-r));
    }
    add_entry(a, name, S_IFREG | mode, 0, 0, data, len);
    return 0;
}

/* ---- modules: dependencies from modules.dep, in load order ---- */

struct load_list {
    char *path[MAX_MODULES]; /* owned: relative to the modules folder */
    unsigned n;
};

static void load_list_done(struct load_list *l)
{
    for (unsigned i = 0; i < l->n; i++) {
        free(l->path[i]);
    }
}

static int push_module(struct load_list *l, const char *path, size_t len)
{
    for (unsigned i = 0; i < l->n; i++) {
        if (strncmp(l->path[i], path, len) == 0 && l->path[i][len] == '\0') {
            return 0;
        }
    }
    if (l->n == MAX_MODULES) {
        return -E2BIG;
    }
    l->path[l->n] = strndup(path, len);
    return l->path[l->n] != NULL ? (int)(l->n++, 0) : -ENOMEM;
}

/* modules.dep: "PATH: DEPENDENCY ..." with what must be loaded first last. */
static int add_with_dependencies(struct load_list *l, const char *dep, const char *name)
{
    AUTO_FREE char *tail = str_format("/%s.ko:", name);
    const char *at = tail != NULL ? strstr(dep, tail) : NULL;
    const char *line;
    const char *colon;
    const char *end;
    int r = 0;

    if (at == NULL) {
        return 0; /* built in, or not there: what needs it will say so */
    }
    for (line = at; line > dep && line[-1] != '\n';) {
        line--;
    }
    colon = at + strlen(tail) - 1;
    end = colon + strcspn(colon, "\n");
    for (const char *p = end; r == 0 && p > colon + 1;) {
        const char *start = p;

        while (start > colon + 1 && start[-1] != ' ') {
            start--;
        }
        if (start < p) {
            r = push_module(l, start, (size_t)(p - start));
        }
        p = start > colon + 1 ? start - 1 : colon + 1;
    }
    return r == 0 ? push_module(l, line, (size_t)(colon - line)) : r;
}

static int add_modules(struct archive *a, const struct initramfs_spec *spec, struct strbuf *conf,
                       struct err **err)
{
    struct load_list list = { .n = 0 };
    AUTO_FREE char *dep_path = path_join(spec->kernel->modules, "modules.dep");
    AUTO_FREE char *dep = NULL;
    int r = dep_path != NULL ? file_slurp(dep_path, FILE_MAX, &dep, NULL) : -ENOMEM;

    if (r < 0) {
        return err_set(err, -r, "cannot read '%s/modules.dep': %s", spec->kernel->modules,
                       strerror(-r));
    }
    for (const char *const *m = spec->modules; r == 0 && *m != NULL; m++) {
        r = add_with_dependencies(&list, dep, *m);
    }
    for (unsigned i = 0; r == 0 && i < list.n; i++) {
        AUTO_FREE char *path = path_join(spec->kernel->modules, list.path[i]);
        const char *base = strrchr(list.path[i], '/') + 1;
        AUTO_FREE char *name = str_format("modules/%s", base);

        if (path == NULL || name == NULL) {
            r = -ENOMEM;
        } else {
            r = add_file(a, name, 0644, path, err);
            strbuf_printf(conf, "module=%s", base);
            strbuf_append(conf, "", 1);
        }
    }
    load_list_done(&list);
    return r;
}

static const char dhcp_event[] =
    "#!/bin/sh\n"
    "[ \"$1\" = bound ] || exit 0\n"
    "busybox ip addr add $ip/${mask:-24} dev $interface\n"
    "[ -n \"$router\" ] && busybox ip route add default via ${router%% *}\n"
    "for d in $dns; do echo nameserver $d; done >/etc/resolv.conf\n";

static char *find_init(void)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n <= 0) {
        return NULL;
    }
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    /* Beside the program in the build folder, else where `make install` puts it. */
    for (int i = 0; i < 2; i++) {
        AUTO_FREE char *path = str_format(
            "%s/%s", self, i == 0 ? "vireo-guest-init" : "../libexec/vireo/vireo-guest-init");

        if (path != NULL && access(path, R_OK) == 0) {
            return TAKE_PTR(path);
        }
    }
    return NULL;
}

static int fill(struct archive *a, const struct initramfs_spec *spec, struct err **err)
{
    static const char *const folders[] = { "bin",  "dev",  "etc", "modules",
                                           "proc", "root", "sys", "tmp" };
    static const char *const applets[] = {
        "sh",    "ls",     "cat",      "echo",    "mount",     "umount", "dmesg", "ps",    "free",
        "uname", "id",     "ip",       "ping",    "poweroff",  "df",     "vi",    "top",   "wget",
        "env",   "date",   "sleep",    "ln",      "cp",        "mv",     "rm",    "mkdir", "grep",
        "sed",   "awk",    "head",     "tail",    "wc",        "find",   "nproc", "stty",  "true",
        "false", "reboot", "lsmod",    "insmod",  "sha256sum", "dd",     "sync",  "chmod", "chown",
        "touch", "tar",    "nslookup", "hostname"
    };
    struct strbuf conf = STRBUF_INIT(4 << 20);
    AUTO_FREE char *init = find_init();
    AUTO_FREE char *text = NULL;
    size_t conf_len;
    int r;

    if (init == NULL) {
        return err_set(err, ENOENT,
                       "the guest's init 'vireo-guest-init' is not installed beside vireo");
    }
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        add_entry(a, folders[i], S_IFDIR | 0755, 0, 0, "", 0);
    }
    add_entry(a, "dev/console", S_IFCHR | 0600, 5, 1, "", 0);
    add_entry(a, "dev/null", S_IFCHR | 0666, 1, 3, "", 0);
    for (size_t i = 0; i < sizeof(applets) / sizeof(applets[0]); i++) {
        AUTO_FREE char *name = str_format("bin/%s", applets[i]);

        if (name != NULL) {
            add_entry(a, name, S_IFLNK | 0777, 0, 0, "busybox", strlen("busybox"));
        }
    }
    add_entry(a, "bin/dhcp-event", S_IFREG | 0755, 0, 0, dhcp_event, sizeof(dhcp_event) - 1);
    r = add_file(a, "init", 0755, init, err);
    r = r == 0 ? add_file(a, "bin/busybox", 0755, spec->kernel->busybox, err) : r;
    r = r == 0 ? add_modules(a, spec, &conf, err) : r;
    strbuf_append(&conf, spec->conf, spec->conf_len);
    conf_len = conf.len;
    text = strbuf_take(&conf);
    if (r == 0 && text == NULL) {
        r = err_set(err, E2BIG, "the command and its environment are too long");
    }
    if (r == 0) {
        add_entry(a, "vireo.conf", S_IFREG | 0600, 0, 0, text, conf_len);
        add_entry(a, "TRAILER!!!", 0, 0, 0, "", 0);
    }
    return r;
}

int initramfs_build(const struct initramfs_spec *spec, int *ret_fd, struct err **err)
{
    struct archive a = { .out = STRBUF_INIT(ARCHIVE_MAX), .next_inode = 1 };
    AUTO_FD int fd = -1;
    int r = fill(&a, spec, err);

    if (r == 0 && a.out.failed) {
        r = err_set(err, ENOMEM, "no memory for the initial file system");
    }
    if (r == 0) {
        r = fd_memfd("vireo-initramfs", a.out.len, &fd);
        r = r == 0 ? fd_pwrite_all(fd, a.out.s, a.out.len, 0) : r;
        if (r < 0) {
            (void)err_set(err, -r, "cannot store the initial file system: %s", strerror(-r));
        }
    }
    strbuf_done(&a.out);
    if (r == 0) {
        *ret_fd = TAKE_FD(fd);
    }
    return r;
}
