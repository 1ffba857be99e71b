/* SPDX-License-Identifier: GPL-2.0-or-later */
/* migration.c - what source and destination have in common: parameters, cookies, the stream's
 * settings. */
#include "mgmt/driver/qemu/migration.h"

#include "base/str.h"
#include "mgmt/model/schema.h"
#include "mgmt/object/world.h"
#include "os/path.h"

#include <errno.h>
#include <libxml/parser.h>
#include <netdb.h>
#include <stdio.h>

enum { HOST_MAX = 256, COOKIE_MAX = 1 << 20, SPEED_MAX_MIB = 8796093022207ull >> 20 };

static char *tls_dir, *address, *host_name;

void migration_configure(const char *dir, const char *listen, const char *host)
{
    free(tls_dir);
    free(address);
    free(host_name);
    tls_dir = dir != NULL ? strdup(dir) : NULL;
    address = listen != NULL ? strdup(listen) : NULL;
    host_name = host != NULL ? strdup(host) : NULL;
}

const char *migration_address(void)
{
    return address != NULL ? address : "::";
}

char *migration_host(void)
{
    char name[HOST_MAX] = { 0 };
    struct addrinfo hints = { .ai_flags = AI_CANONNAME }, *list = NULL;
    char *out;

    if (host_name != NULL) {
        return strdup(host_name);
    }
    if (gethostname(name, sizeof(name) - 1) < 0) {
        return NULL;
    }
    if (strchr(name, '.') != NULL || getaddrinfo(name, NULL, &hints, &list) != 0) {
        return strdup(name);
    }
    out = strdup(list->ai_canonname != NULL && !str_starts(list->ai_canonname, "localhost")
                     ? list->ai_canonname
                     : name);
    freeaddrinfo(list);
    return out;
}

static int read_one(const struct rpc_typed_param *p, struct migration *m, struct err **err)
{
    const struct {
        const char *name;
        const char **to;
    } texts[] = { { "destination_xml", &m->dest_xml },
                  { "destination_name", &m->dest_name },
                  { "migrate_uri", &m->uri },
                  { "listen_address", &m->listen },
                  { "persistent_xml", &m->persist_xml },
                  { "tls.destination", &m->tls_destination } };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (str_eq(p->field, texts[i].name) && p->kind == RPC_TYPED_STRING) {
            *texts[i].to = p->value.s;
            return 0;
        }
    }
    if (str_eq(p->field, "bandwidth") && p->kind == RPC_TYPED_ULLONG) {
        m->bandwidth = p->value.ul;
        return 0;
    }
    if (str_eq(p->field, "parallel.connections") && p->kind == RPC_TYPED_INT) {
        m->parallel = p->value.i;
        return 0;
    }
    /* Hints that change nothing. */
    if (str_eq(p->field, "graphics_uri") || str_starts(p->field, "auto_converge.") ||
        str_starts(p->field, "compression") || str_eq(p->field, "bandwidth.postcopy")) {
        return 0;
    }
    return fault(err, DOM_QEMU, ARGUMENT_UNSUPPORTED, "migration parameter '%s' is not supported",
                 p->field);
}

int migration_read(const struct rpc_typed_param *params, uint32_t n, unsigned flags,
                   struct migration *ret, struct err **err)
{
    int r = 0;

    *ret = (struct migration) { .flags = flags };
    if (flags & (MIGRATE_NON_SHARED_DISK | MIGRATE_NON_SHARED_INC)) {
        return fault(
            err, DOM_QEMU, OPERATION_UNSUPPORTED,
            "migration of non-shared storage is not supported; put the disks on storage that both hosts see");
    }
    if (flags & MIGRATE_TUNNELLED) {
        return fault(err, DOM_QEMU, OPERATION_UNSUPPORTED,
                     "tunnelled migration is not supported; use --tls to encrypt the stream");
    }
    if (flags & ~(unsigned)MIGRATE_KNOWN) {
        return fault(err, DOM_NONE, INVALID_ARG, "unsupported flags (0x%x) in function %s",
                     flags & ~(unsigned)MIGRATE_KNOWN, "virDomainMigrate3");
    }
    for (uint32_t i = 0; r == 0 && i < n; i++) {
        r = read_one(&params[i], ret, err);
    }
    return r;
}

/* ---- cookies ---- */

static void add_element(struct strbuf *b, const char *name, const char *value)
{
    strbuf_printf(b, "  <%s>", name);
    xml_escape(b, value);
    strbuf_printf(b, "</%s>\n", name);
}

char *migration_cookie(const struct domain *d)
{
    struct strbuf b = STRBUF_INIT(COOKIE_MAX);
    char host[UUID_TEXT_BYTES];
    AUTO_FREE char *name = migration_host();

    uuid_format(d->world->host_uuid, host);
    strbuf_puts(&b, "<qemu-migration>\n");
    add_element(&b, "name", d->name);
    add_element(&b, "uuid", d->uuid_text);
    add_element(&b, "hostname", name != NULL ? name : "localhost");
    add_element(&b, "hostuuid", host);
    strbuf_puts(&b, "</qemu-migration>\n");
    return strbuf_take(&b);
}

/* The text of a child; owned. */
static char *element(const xmlNode *root, const char *name)
{
    for (xmlNode *n = root->children; n != NULL; n = n->next) {
        if (n->type == XML_ELEMENT_NODE && str_eq((const char *)n->name, name)) {
            xmlChar *text = xmlNodeGetContent(n);
            char *copy = text != NULL ? strdup((const char *)text) : NULL;

            xmlFree(text);
            return copy;
        }
    }
    return NULL;
}

int migration_check_cookie(const struct domain *d, const char *cookie, struct err **err)
{
    AUTO_FREE char *uuid = NULL, *host = NULL, *name = NULL;
    char own[UUID_TEXT_BYTES];
    size_t len = cookie != NULL ? strlen(cookie) : 0;
    xmlDoc *doc;
    xmlNode *root;

    if (len == 0) {
        return 0;
    }
    doc = len <= COOKIE_MAX
              ? xmlReadMemory(cookie, (int)len, NULL, NULL,
                              XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING)
              : NULL;
    root = doc != NULL ? xmlDocGetRootElement(doc) : NULL;
    if (root != NULL) {
        uuid = element(root, "uuid");
        host = element(root, "hostuuid");
        name = element(root, "hostname");
    }
    xmlFreeDoc(doc);
    if (uuid == NULL || host == NULL || name == NULL) {
        return fault(err, DOM_QEMU, INTERNAL_ERROR, "missing %s element in migration data",
                     uuid == NULL   ? "uuid"
                     : host == NULL ? "hostuuid"
                                    : "hostname");
    }
    if (!str_eq(uuid, d->uuid_text)) {
        return fault(err, DOM_QEMU, INTERNAL_ERROR,
                     "Incoming cookie data had unexpected UUID %s vs %s", uuid, d->uuid_text);
    }
    uuid_format(d->world->host_uuid, own);
    return str_eq(host, own) ? fault(err, DOM_QEMU, INTERNAL_ERROR,
                                     "Attempt to migrate guest to the same host %s", own)
                             : 0;
}

/* ---- the stream ---- */

static void capability(struct json_object *list, const char *name, bool on)
{
    struct json_object *o = json_object_new_object();

    (void)json_add_str(o, "capability", name);
    (void)json_add_bool(o, "state", on);
    json_object_array_add(list, o);
}

static int add_tls(struct domain *d, bool incoming, struct json_object *params, const char *host,
                   struct err **err)
{
    const char *dir = tls_dir != NULL ? tls_dir : "/etc/pki/qemu";
    struct json_object *a = json_object_new_object();
    AUTO_FREE char *ca = str_format("%s/ca-cert.pem", dir);

    if (ca == NULL || !path_exists(ca)) {
        json_object_put(a);
        return fault(
            err, DOM_QEMU, OPERATION_INVALID,
            "no certificates for an encrypted migration in '%s' (migrate_tls_x509_cert_dir in vireod.conf)",
            dir);
    }
    (void)json_add_str(a, "qom-type", "tls-creds-x509");
    (void)json_add_str(a, "id", "objlibvirt_migrate_tls0");
    (void)json_add_str(a, "dir", dir);
    (void)json_add_str(a, "endpoint", incoming ? "server" : "client");
    (void)json_add_bool(a, "verify-peer", true);
    (void)json_add_str(params, "tls-creds", "objlibvirt_migrate_tls0");
    (void)json_add_str(params, "tls-hostname", !incoming && host != NULL ? host : "");
    return monitor_run(run_of(d)->qmp, "object-add", a, NULL, err);
}

int migration_set_up(struct domain *d, const struct migration *m, bool incoming, const char *host,
                     struct err **err)
{
    struct run *r = run_of(d);
    struct json_object *a = json_object_new_object(), *list = json_object_new_array(),
                       *params = json_object_new_object();
    uint64_t mib = m->bandwidth > 0 ? m->bandwidth : r->migrate_mib;
    int result;

    capability(list, "events", true);
    capability(list, "xbzrle", (m->flags & MIGRATE_COMPRESSED) != 0);
    capability(list, "auto-converge", (m->flags & MIGRATE_AUTO_CONVERGE) != 0);
    capability(list, "postcopy-ram", (m->flags & MIGRATE_POSTCOPY) != 0);
    capability(list, "multifd", (m->flags & MIGRATE_PARALLEL) != 0);
    capability(list, "pause-before-switchover", !incoming && !(m->flags & MIGRATE_POSTCOPY));
    (void)json_add(a, "capabilities", list);
    result = monitor_run(r->qmp, "migrate-set-capabilities", a, NULL, err);
    if (result == 0) {
        /* What an earlier move, perhaps in the other direction, has left. */
        struct json_object *old = json_object_new_object();

        (void)json_add_str(old, "id", "objlibvirt_migrate_tls0");
        (void)monitor_run(r->qmp, "object-del", old, NULL, NULL);
    }
    if (result == 0 && (m->flags & MIGRATE_TLS)) {
        result = add_tls(d, incoming, params, host, err);
    } else {
        (void)json_add_str(params, "tls-creds", "");
        (void)json_add_str(params, "tls-hostname", "");
    }
    if ((m->flags & MIGRATE_PARALLEL) && m->parallel > 0) {
        (void)json_add_i64(params, "multifd-channels", m->parallel);
    }
    if (!incoming) {
        (void)json_add_u64(params, "max-bandwidth",
                           mib > 0 && mib < SPEED_MAX_MIB ? mib << 20
                                                          : (uint64_t)INT64_MAX >> 20 << 20);
        if (r->migrate_downtime_msec > 0) {
            (void)json_add_u64(params, "downtime-limit", r->migrate_downtime_msec);
        }
    }
    if (result < 0) {
        json_object_put(params);
        return result;
    }
    return monitor_run(r->qmp, "migrate-set-parameters", params, NULL, err);
}
