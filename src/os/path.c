/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "os/path.h"

#include "base/str.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

char *path_join(const char *dir, const char *name)
{
    if (*name == '/') {
        return strdup(name);
    }
    return str_format("%s%s%s", dir, str_ends(dir, "/") ? "" : "/", name);
}

static char *user_folder(enum path_kind kind)
{
    static const struct {
        const char *var;
        const char *below_home;
    } places[] = {
        [PATH_CONFIG] = { "XDG_CONFIG_HOME", ".config" },
        [PATH_STATE] = { "XDG_DATA_HOME", ".local/share" },
        [PATH_CACHE] = { "XDG_CACHE_HOME", ".cache" },
        [PATH_RUN] = { "XDG_RUNTIME_DIR", NULL },
    };
    const char *dir = getenv(places[kind].var);
    const char *home = getenv("HOME");

    if (dir != NULL && *dir == '/') {
        return str_format("%s/vireo", dir);
    }
    if (places[kind].below_home == NULL) {
        return str_format("/tmp/vireo-run-%u", (unsigned)getuid());
    }
    return str_format("%s/%s/vireo", home != NULL ? home : "/", places[kind].below_home);
}

char *path_of(enum path_kind kind, bool system, const char *name)
{
    static const char *const system_folders[] = {
        [PATH_CONFIG] = "/etc/vireo",
        [PATH_STATE] = "/var/lib/vireo",
        [PATH_CACHE] = "/var/cache/vireo",
        [PATH_RUN] = "/run/vireo",
    };
    AUTO_FREE char *dir = system ? strdup(system_folders[kind]) : user_folder(kind);

    if (dir == NULL || name == NULL) {
        return TAKE_PTR(dir);
    }
    return path_join(dir, name);
}

int path_make_folders(const char *path, mode_t mode, struct err **err)
{
    AUTO_FREE char *copy = strdup(path);

    if (copy == NULL) {
        return -ENOMEM;
    }
    for (char *p = copy + 1;; p++) {
        char c = *p;

        if (c != '/' && c != '\0') {
            continue;
        }
        *p = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST) {
            return err_set(err, errno, "cannot make folder '%s': %s", copy, strerror(errno));
        }
        *p = c;
        if (c == '\0') {
            return 0;
        }
    }
}

bool path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool is_program(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

char *path_find_program(const char *name)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    const char *dirs = getenv("PATH");

    if (strchr(name, '/') != NULL) {
        return is_program(name) ? strdup(name) : NULL;
    }
    if (n > 0) {
        AUTO_FREE char *beside = NULL;

        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        beside = path_join(self, name);
        if (beside != NULL && is_program(beside)) {
            return TAKE_PTR(beside);
        }
    }
    for (const char *p = dirs != NULL ? dirs : "/usr/bin:/bin"; *p != '\0';) {
        size_t len = strcspn(p, ":");
        AUTO_FREE char *at = str_format("%.*s/%s", (int)len, p, name);

        if (at != NULL && is_program(at)) {
            return TAKE_PTR(at);
        }
        p += len + (p[len] == ':' ? 1 : 0);
    }
    return NULL;
}
