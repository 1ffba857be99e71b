/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "mgmt/access/polkit.h"

#include "mgmt/server/client.h"
#include "mgmt/server/lock.h"
#include "rpc/fault.h"

#include <errno.h>
#include <systemd/sd-bus.h>

enum { ALLOW_INTERACTION = 1, TIMEOUT_USEC = 60000000 };

static int ask(struct client *c, const char *action, bool interactive, int *ret_ok, int *ret_agent)
{
    sd_bus *bus = NULL;
    sd_bus_message *m = NULL, *reply = NULL;
    sd_bus_error e = SD_BUS_ERROR_NULL;
    int r = sd_bus_open_system(&bus);

    if (r >= 0) {
        r = sd_bus_message_new_method_call(
            bus, &m, "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
            "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization");
    }
    if (r >= 0) {
        r = sd_bus_message_append(m, "(sa{sv})sa{ss}us", "unix-process", 3, "pid", "u",
                                  (uint32_t)c->pid, "start-time", "t", (uint64_t)c->start_time,
                                  "uid", "i", (int32_t)c->uid, action, 0,
                                  interactive ? ALLOW_INTERACTION : 0, "");
    }
    if (r >= 0) {
        r = sd_bus_call(bus, m, TIMEOUT_USEC, &e, &reply);
    }
    if (r >= 0) {
        r = sd_bus_message_read(reply, "(bba{ss})", ret_ok, ret_agent, 0);
    }
    sd_bus_error_free(&e);
    sd_bus_message_unref(m);
    sd_bus_message_unref(reply);
    sd_bus_flush_close_unref(bus);
    return r;
}

int polkit_check(struct client *c, const char *action, bool interactive, struct err **err)
{
    int ok = 0, agent = 0, r;

    client_ref(c);
    UNLOCKED(r = ask(c, action, interactive, &ok, &agent));
    client_unref(c);
    if (r < 0) {
        return fault(err, DOM_POLKIT, AUTH_UNAVAILABLE, "polkit does not answer: %s", strerror(-r));
    }
    if (ok) {
        return 0;
    }
    if (agent) {
        return fault(err, DOM_POLKIT, AUTH_UNAVAILABLE,
                     "no polkit agent available to authenticate action '%s'", action);
    }
    return -EACCES;
}
