/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/object/files.h"

#include "base/log.h"
#include "mgmt/server/lock.h"
#include "os/fd.h"
#include "os/path.h"
#include "rpc/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

/*
 * Temporary file, fsync, rename: after a crash of the machine there is the old or the new
 * definition. Which of both is left to the file system's journal: waiting for the folder as well
 * would halve how many domains can be defined in a second.
 */
static int replace(const char *path, const char *text)
{
    AUTO_FREE char *temp = str_format("%s.XXXXXX", path);
    AUTO_FD int fd = -1;
    int r;

    if (temp == NULL) {
        return -ENOMEM;
    }
    fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    r = fd_write_all(fd, text, strlen(text));
    if (r == 0 && (fsync(fd) < 0 || rename(temp, path) < 0)) {
        r = -errno;
    }
    if (r < 0) {
        (void)unlink(temp);
    }
    return r;
}

int files_write(const char *path, const char *text, struct err **err)
{
    AUTO_FREE char *dir = strdup(path);
    char *slash = dir != NULL ? strrchr(dir, '/') : NULL;
    int r = 0;

    if (slash == NULL) {
        return -ENOMEM;
    }
    *slash = '\0';
    UNLOCKED({
        if (!path_exists(dir)) {
            r = path_make_folders(dir, 0700, err);
        }
        r = r == 0 ? replace(path, text) : r;
    });
    if (r < 0) {
        return err_set(err, -r, "cannot write '%s': %s", path, strerror(-r));
    }
    return 0;
}

int files_write_node(const char *path, const struct node *n, struct err **err)
{
    AUTO_FREE char *xml = node_to_xml(n);

    return xml != NULL ? files_write(path, xml, err) : -ENOMEM;
}

int files_read_node(const char *path, const struct elem *root, bool live, struct node **ret,
                    struct err **err)
{
    AUTO_FREE char *text = NULL;
    size_t len;
    int r = file_slurp(path, SCHEMA_XML_MAX, &text, &len);

    if (r < 0) {
        return err_set(err, -r, "cannot read '%s': %s", path, strerror(-r));
    }
    return schema_parse(text, root, DOM_CONF, live, ret, err);
}

int files_link(const char *target, const char *path, bool on, struct err **err)
{
    AUTO_FREE char *dir = strdup(path);
    char *slash = dir != NULL ? strrchr(dir, '/') : NULL;
    int r;

    if (slash == NULL) {
        return -ENOMEM;
    }
    *slash = '\0';
    if (!on) {
        return unlink(path) < 0 && errno != ENOENT
                   ? err_set(err, errno, "Failed to delete symlink '%s': %s", path, strerror(errno))
                   : 0;
    }
    r = path_make_folders(dir, 0700, err);
    if (r < 0) {
        return r;
    }
    if (symlink(target, path) < 0 && errno != EEXIST) {
        return err_set(err, errno, "Failed to create symlink '%s' to '%s': %s", path, target,
                       strerror(errno));
    }
    return 0;
}

int files_each(const char *dir, const char *suffix,
               int (*fn)(struct world *w, const char *path, struct err **err), struct world *w)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    if (d == NULL) {
        return errno == ENOENT ? 0 : -errno;
    }
    while ((e = readdir(d)) != NULL) {
        CLEANUP(err_freep) struct err *err = NULL;
        AUTO_FREE char *path = NULL;

        if (e->d_name[0] == '.' || !str_ends(e->d_name, suffix)) {
            continue;
        }
        path = str_format("%s/%s", dir, e->d_name);
        if (path != NULL && fn(w, path, &err) < 0) {
            log_warn("%s: %s", path, err != NULL ? err->text : "not loaded");
        }
    }
    (void)closedir(d);
    return 0;
}
