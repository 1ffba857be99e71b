/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * access.h - may this client make this call?
 *
 * Each call names its permissions in rpc/protocol/remote.x ("domain:start"). Off (the default):
 * every authenticated client of the read-write socket may do all. On: polkit is asked for the
 * action org.libvirt.api.OBJECT.PERMISSION, as libvirt's polkit driver does.
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>

struct call;

void access_enable(bool on);
/* Before the arguments are decoded: what the connection itself needs. */
int access_check(struct call *call, struct err **err) MUST_CHECK;
/* With the decoded arguments: what the call's object needs. */
int access_check_object(struct call *call, struct err **err) MUST_CHECK;
