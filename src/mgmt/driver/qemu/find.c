/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/driver/qemu/find.h"

#include <strings.h>

struct node *find_disk(const struct node *def, const char *name)
{
    for (struct node *k = node_child(domain_devices(def), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        if (node_is(k, "target/@dev", name) || node_is(k, "source/@file", name) ||
            node_is(k, "source/@dev", name)) {
            return k;
        }
    }
    return NULL;
}

struct node *find_nic(const struct node *def, const char *name)
{
    for (struct node *k = node_child(domain_devices(def), "interface"); k != NULL;
         k = node_next(k, "interface")) {
        const char *mac = node_get(k, "mac/@address");

        if (node_is(k, "target/@dev", name) || (mac != NULL && strcasecmp(mac, name) == 0)) {
            return k;
        }
    }
    return NULL;
}

void disks_in_order(struct node *disks, const struct node *def)
{
    for (const struct node *k = node_child(domain_devices(def), "disk"); k != NULL;
         k = node_next(k, "disk")) {
        for (struct node *l = node_child(disks, "disk"); l != NULL; l = node_next(l, "disk")) {
            if (node_is(l, "@name", node_get(k, "target/@dev"))) {
                node_insert(disks, node_detach(l));
                break;
            }
        }
    }
}

char *disk_node_name(const struct node *disk)
{
    const char *i = node_get(disk, "source/@index");

    return i != NULL ? str_format("libvirt-%s-format", i) : NULL;
}

char *disk_qom_path(const struct node *disk)
{
    const char *alias = node_get(disk, "alias/@name");

    return node_is(disk, "target/@bus", "virtio")
               ? str_format("/machine/peripheral/%s/virtio-backend", alias)
               : strdup(alias);
}

int use_begin(struct call *call, const struct remote_domain *wire, bool active, struct use *ret,
              struct err **err)
{
    int r = domain_of_call(call, wire, &ret->d, err);

    if (r < 0) {
        ret->d = NULL;
        return r;
    }
    r = domain_job_begin(ret->d, call_api_name(call), err);
    if (r < 0) {
        return r;
    }
    ret->job = true;
    return active ? domain_check_active(ret->d, err) : 0;
}

void use_end(struct use *u)
{
    if (u->job) {
        domain_job_end(u->d);
    }
    domain_unref(u->d);
}
