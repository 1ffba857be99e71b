/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tap.h - network devices of the host: taps, macvtaps, bridges, addresses.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>

/* name: wanted, or NULL for the next "vnetN". Joins the bridge when there is one. *ret_name is
 * owned by the caller. The device goes with its descriptor. */
int tap_open(const char *name, const char *bridge, const char *mac, unsigned mtu, bool down,
             int *ret_fd, char **ret_name, struct err **err) MUST_CHECK;
int macvtap_open(const char *parent, const char *mode, const char *mac, int *ret_fd,
                 char **ret_name, struct err **err) MUST_CHECK;

int bridge_make(const char *name, const char *mac, struct err **err) MUST_CHECK;
void bridge_destroy(const char *name);
bool link_exists(const char *name);
int link_up(const char *name, bool up, struct err **err) MUST_CHECK;
int link_add_address(const char *name, const char *address, unsigned prefix, struct err **err)
    MUST_CHECK;
