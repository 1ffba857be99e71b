/* SPDX-License-Identifier: GPL-2.0-or-later */
/* autodestroy.h - domains that end with the client that started them. */
#pragma once

#include "base/err.h"

struct client;
struct domain;

/* An error when the client is gone already. */
int autodestroy_set(struct domain *d, struct client *c, struct err **err) MUST_CHECK;

void autodestroy_client_gone(struct client *c);
