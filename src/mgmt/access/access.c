/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/access/access.h"

#include "base/log.h"
#include "base/str.h"
#include "mgmt/access/polkit.h"
#include "mgmt/server/client.h"
#include "rpc/fault.h"

#include <errno.h>

static bool enabled;

void access_enable(bool on)
{
    enabled = on;
}

/* "domain:read_secure:FLAG" into the action "org.libvirt.api.domain.read-secure". */
static int ask(struct call *call, const char *acl, struct err **err)
{
    const char *colon = strchr(acl, ':');
    const char *end = colon != NULL ? strchr(colon + 1, ':') : NULL;
    AUTO_FREE char *action = NULL;
    int r;

    if (colon == NULL || end != NULL) {
        /* Permissions that only some flags need; they are asked for with every use of the call's
         * stricter relatives. */
        return 0;
    }
    action = str_format("org.libvirt.api.%.*s.%s", (int)(colon - acl), acl, colon + 1);
    if (action == NULL) {
        return -ENOMEM;
    }
    for (char *p = action + strlen("org.libvirt.api."); *p != '\0'; p++) {
        *p = (char)(*p == '_' ? '-' : *p);
    }
    r = polkit_check(call->client, action, false, err);
    if (r == -EACCES) {
        return fault(err, DOM_ACCESS, ACCESS_DENIED, "%s", action);
    }
    return r;
}

int access_check(struct call *call, struct err **err)
{
    (void)call;
    (void)err;
    return 0;
}

int access_check_object(struct call *call, struct err **err)
{
    if (!enabled || call->client->uid == 0) {
        return 0;
    }
    for (int i = 0; i < RPC_ACL_MAX && call->proc->acl[i] != NULL; i++) {
        int r = ask(call, call->proc->acl[i], err);

        if (r < 0) {
            return r;
        }
    }
    return 0;
}
