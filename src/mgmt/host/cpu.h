/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cpu.h - the host's CPU: model, features, as capabilities tell them.
 */
#pragma once

#include "base/str.h"

/* <arch>, <cpu> of the host's capabilities. */
void host_cpu_xml(struct strbuf *b, unsigned indent);
/* The model a "host-model" CPU is: <model>, <vendor>, <feature>s. */
void host_cpu_model_xml(struct strbuf *b, unsigned indent);
const char *host_cpu_model_vendor(const char *model); /* "Intel", "AMD", "unknown" */
const char *host_cpu_model(void);                     /* nearest named model */
const char *host_cpu_vendor(void);
/* Is the feature (libvirt's name) there? Unknown names are not. */
bool host_cpu_has(const char *feature);
/* Calls fn for each feature of the host, in the order of the table. */
void host_cpu_features(void (*fn)(const char *name, void *arg), void *arg);
