/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/save.h"

#include "base/bytes.h"
#include "mgmt/driver/driver.h"
#include "mgmt/driver/qemu/migrate.h"
#include "mgmt/driver/qemu/process.h"
#include "mgmt/model/schema.h"
#include "os/fd.h"
#include "os/path.h"
#include "rpc/fault.h"

#include <errno.h>
#include <fcntl.h>

enum { HEADER_BYTES = 32, DATA_ALIGN = 4096, VERSION = 1 };

static const char magic_done[16] = "VireoDomainSave", magic_part[16] = "VireoDomainPart";

static int write_head(int fd, const char *magic, const char *xml, bool running, uint32_t *ret_data)
{
    uint8_t h[HEADER_BYTES] = { 0 };
    uint32_t len = (uint32_t)strlen(xml);
    uint32_t data = *ret_data != 0
                        ? *ret_data
                        /* Room for an edited definition that is somewhat longer. */
                        : (uint32_t)round_up_u64(HEADER_BYTES + len + DATA_ALIGN * 4, DATA_ALIGN);
    int r;

    if (HEADER_BYTES + len > data) {
        return -ENOSPC;
    }
    memcpy(h, magic, 16);
    le32_put(h + 16, VERSION);
    le32_put(h + 20, running);
    le32_put(h + 24, len);
    le32_put(h + 28, data);
    r = fd_pwrite_all(fd, h, sizeof(h), 0);
    r = r == 0 ? fd_pwrite_all(fd, xml, len, HEADER_BYTES) : r;
    *ret_data = data;
    return r;
}

int save_memory(struct domain *d, const char *path, const char *xml, bool running,
                const char *operation, struct err **err)
{
    AUTO_FD int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint32_t data = 0;
    int r;

    if (fd < 0) {
        return err_set(err, errno, "Failed to create file '%s': %s", path, strerror(errno));
    }
    r = write_head(fd, magic_part, xml, running, &data);
    if (r == 0 && lseek(fd, data, SEEK_SET) < 0) {
        r = -errno;
    }
    if (r < 0) {
        (void)err_set(err, -r, "cannot write '%s': %s", path, strerror(-r));
    }
    r = r == 0 ? migrate_to_fd(d, fd, operation, err) : r;
    if (r == 0) {
        r = fd_pwrite_all(fd, magic_done, sizeof(magic_done), 0);
        if (r == 0 && fsync(fd) < 0) {
            r = -errno;
        }
        if (r < 0) {
            (void)err_set(err, -r, "cannot write '%s': %s", path, strerror(-r));
        }
    }
    if (r < 0) {
        (void)unlink(path);
    }
    return r;
}

int save_to(struct domain *d, const char *path, const char *dxml, unsigned flags, bool managed,
            struct err **err)
{
    AUTO_FREE char *xml = dxml != NULL ? strdup(dxml) : domain_xml(d, XML_SECURE, err);
    AUTO_FREE char *dir = strdup(path);
    bool was_running = d->state == STATE_RUNNING;
    bool running = flags & SAVE_RUNNING ? true : flags & SAVE_PAUSED ? false : was_running;
    int r = 0;

    if (xml == NULL || dir == NULL) {
        return -ENOMEM;
    }
    if (managed && strrchr(dir, '/') != NULL) {
        *strrchr(dir, '/') = '\0';
        r = path_make_folders(dir, 0700, err);
    }
    if (r == 0 && was_running) {
        r = process_pause(d, PAUSED_SAVE, SUSPENDED_PAUSED, err);
    }
    r = r == 0 ? save_memory(d, path, xml, running, "save", err) : r;
    if (r < 0) {
        if (was_running && domain_active(d) && d->state == STATE_PAUSED) {
            (void)process_cont(d, RUNNING_SAVE_CANCELED, RESUMED_UNPAUSED, NULL);
        }
        return r;
    }
    d->has_managed_save |= managed;
    return process_stop(d, SHUTOFF_SAVED, STOPPED_SAVED, err);
}

int save_read(const char *path, struct node **ret_def, bool *ret_running, int *ret_fd,
              struct err **err)
{
    AUTO_FD int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t h[HEADER_BYTES];
    AUTO_FREE char *xml = NULL;
    uint32_t len, data;
    int r;

    if (fd < 0 && errno == EACCES) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) {
        return err_set(err, errno, "Failed to open file '%s': %s", path, strerror(errno));
    }
    if (fd_pread_all(fd, h, sizeof(h), 0) < 0) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "failed to read qemu header");
    }
    if (memcmp(h, magic_part, 16) == 0) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "save image is incomplete");
    }
    if (memcmp(h, magic_done, 16) != 0) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "image magic is incorrect");
    }
    if (le32_get(h + 16) != VERSION) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "image version is not supported (%u)",
                     le32_get(h + 16));
    }
    len = le32_get(h + 24);
    data = le32_get(h + 28);
    if (len == 0 || len > SCHEMA_XML_MAX || data < HEADER_BYTES + len) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "invalid header data length: %u", len);
    }
    xml = calloc(1, len + 1);
    if (xml == NULL) {
        return -ENOMEM;
    }
    if (fd_pread_all(fd, xml, len, HEADER_BYTES) < 0) {
        return fault(err, DOM_QEMU, OPERATION_FAILED, "failed to read domain XML");
    }
    r = schema_parse(xml, &schema_domain, DOM_DOMAIN, true, ret_def, err);
    if (r < 0) {
        return r;
    }
    *ret_running = le32_get(h + 20) == 1;
    if (lseek(fd, data, SEEK_SET) < 0) {
        return err_set(err, errno, "cannot seek in '%s': %s", path, strerror(errno));
    }
    if (ret_fd != NULL) {
        *ret_fd = TAKE_FD(fd);
    }
    return 0;
}

int save_restore(struct domain *d, const char *path, unsigned flags, struct err **err)
{
    struct start_spec spec = { .running_reason = RUNNING_RESTORED,
                               .started_detail = STARTED_RESTORED };
    CLEANUP(node_freep) struct node *def = NULL;
    AUTO_FD int fd = -1;
    struct node *before;
    bool running = true;
    int r = save_read(path, &def, &running, &fd, err);

    r = r == 0 ? d->world->driver->complete(d->world, def, err) : r;
    if (r < 0) {
        return r;
    }
    if (flags & START_PAUSED || flags & SAVE_PAUSED) {
        running = false;
    } else if (flags & SAVE_RUNNING) {
        running = true;
    }
    spec.paused = !running;
    spec.incoming_fd = fd;
    before = d->def;
    if (d->persistent && d->next == NULL) {
        d->next = d->def;
    }
    d->def = TAKE_PTR(def);
    r = process_start(d, &spec, err);
    if (before != d->next && before != d->def && !(r < 0 && d->world == NULL)) {
        node_free(before);
    }
    return r;
}

int save_rewrite(struct world *w, const char *path, const char *xml, unsigned flags,
                 struct err **err)
{
    CLEANUP(node_freep) struct node *old = NULL;
    CLEANUP(node_freep) struct node *new_def = NULL;
    AUTO_FREE char *text = NULL;
    AUTO_FD int fd = -1;
    bool running;
    off_t at;
    uint32_t data;
    int r = save_read(path, &old, &running, &fd, err);

    r = r == 0 ? schema_parse(xml, &schema_domain, DOM_DOMAIN, false, &new_def, err) : r;
    r = r == 0 ? w->driver->complete(w, new_def, err) : r;
    if (r < 0) {
        return r;
    }
    if (!node_is(new_def, "uuid", node_get(old, "uuid")) ||
        !node_is(new_def, "name", node_get(old, "name"))) {
        return fault(err, DOM_DOMAIN, CONFIG_UNSUPPORTED,
                     "Target domain uuid %s does not match source %s", node_get(new_def, "uuid"),
                     node_get(old, "uuid"));
    }
    at = lseek(fd, 0, SEEK_CUR);
    data = (uint32_t)at;
    text = node_to_xml(new_def);
    if (text == NULL) {
        return -ENOMEM;
    }
    if (flags & (SAVE_RUNNING | SAVE_PAUSED)) {
        running = (flags & SAVE_RUNNING) != 0;
    }
    r = write_head(fd, magic_done, text, running, &data);
    return r == -ENOSPC ? fault(err, DOM_QEMU, OPERATION_FAILED, "new xml too large to fit in file")
           : r < 0      ? err_set(err, -r, "cannot write '%s': %s", path, strerror(-r))
                        : 0;
}
