/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_device.c - devices: from an XML file, or described by options. */
#include "tools/vireo/document.h"
#include "tools/vireo/shell.h"

enum { XML_MAX_BYTES = 1 << 20, AFFECT_LIVE = 1, AFFECT_CONFIG = 2, UPDATE_FORCE = 4 };

xmlNode *find_interface_element(xmlNode *root, const char *which);

/* virsh's old --persistent: the definition too, and the run when there is one. */
static int affect_of(struct args *a, const struct vireo_domain *d, uint32_t *ret)
{
    if (arg_affect(a, ret)) {
        return -1;
    }
    if (arg_set(a, "persistent") && d->id >= 0) {
        *ret |= AFFECT_LIVE;
    }
    return 0;
}

typedef int device_call(struct vireo_connect *c, const struct vireo_domain *dom, const char *xml,
                        uint32_t flags);

static int from_file(struct shell *sh, struct args *a, device_call *call, const char *done,
                     const char *failed)
{
    AUTO_FREE char *xml = NULL;
    uint32_t affect;

    DOMAIN(a, d);
    if (affect_of(a, &d, &affect)) {
        return -1;
    }
    xml = read_file(arg(a, "file"));
    if (xml == NULL) {
        return -1;
    }
    if (call(sh->conn, &d, xml, affect | (arg_set(a, "force") ? UPDATE_FORCE : 0)) < 0) {
        return fail("%s %s", failed, arg(a, "file"));
    }
    extra(sh, "%s\n", done);
    return 0;
}

static int attach_plain(struct vireo_connect *c, const struct vireo_domain *dom, const char *xml,
                        uint32_t flags)
{
    return flags != 0 ? vireo_domain_attach_device_flags(c, dom, xml, flags)
                      : vireo_domain_attach_device(c, dom, xml);
}

static int detach_plain(struct vireo_connect *c, const struct vireo_domain *dom, const char *xml,
                        uint32_t flags)
{
    return flags != 0 ? vireo_domain_detach_device_flags(c, dom, xml, flags)
                      : vireo_domain_detach_device(c, dom, xml);
}

static int attach_device(struct shell *sh, struct args *a)
{
    return from_file(sh, a, attach_plain, "Device attached successfully",
                     "Failed to attach device from");
}

static int detach_device(struct shell *sh, struct args *a)
{
    return from_file(sh, a, detach_plain, "Device detached successfully",
                     "Failed to detach device from");
}

static int update_device(struct shell *sh, struct args *a)
{
    return from_file(sh, a, vireo_domain_update_device_flags, "Device updated successfully",
                     "Failed to update device from");
}

static int detach_alias(struct shell *sh, struct args *a)
{
    uint32_t affect;

    DOMAIN(a, d);
    if (arg_affect(a, &affect)) {
        return -1;
    }
    if (vireo_domain_detach_device_alias(sh->conn, &d, arg(a, "alias"), affect) < 0) {
        return fail("Failed to detach device with alias %s", arg(a, "alias"));
    }
    extra(sh, "Device detach request sent successfully\n");
    return 0;
}

/* ---- described by options ---- */

/* " name='value'" for each option that was given. */
static void attrs(struct strbuf *b, const struct args *a, const char *const *pairs)
{
    for (; pairs[0] != NULL; pairs += 2) {
        AUTO_FREE char *v = arg(a, pairs[1]) != NULL ? xml_quote(arg(a, pairs[1])) : NULL;

        if (v != NULL) {
            strbuf_printf(b, " %s='%s'", pairs[0], v);
        }
    }
}

static void text_element(struct strbuf *b, const struct args *a, const char *name,
                         const char *option)
{
    AUTO_FREE char *v = arg(a, option) != NULL ? xml_quote(arg(a, option)) : NULL;

    if (v != NULL) {
        strbuf_printf(b, "  <%s>%s</%s>\n", name, v, name);
    }
}

/* "pci:0000.00.05.0", "usb:1.2", "scsi:0.0.1", "ide:0.0.0", "sata:0.0.0", "ccw:..." */
static int address(struct strbuf *b, const char *text, bool multifunction)
{
    static const struct {
        const char *type, *xml, *fields;
    } kinds[] = {
        { "pci", "pci", "domain bus slot function" }, { "usb", "usb", "bus port" },
        { "scsi", "drive", "controller bus unit" },   { "ide", "drive", "controller bus unit" },
        { "sata", "drive", "controller bus unit" },   { "ccw", "ccw", "cssid ssid devno" }
    };
    const char *colon = strchr(text, ':');

    for (size_t i = 0; colon != NULL && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        AUTO_FREE char *names = NULL, *values = NULL;
        char *np, *vp, *name, *value;

        if (strlen(kinds[i].type) != (size_t)(colon - text) ||
            strncmp(kinds[i].type, text, (size_t)(colon - text)) != 0) {
            continue;
        }
        names = strdup(kinds[i].fields);
        values = strdup(colon + 1);
        if (names == NULL || values == NULL) {
            return -1;
        }
        strbuf_printf(b, "  <address type='%s'", kinds[i].xml);
        name = strtok_r(names, " ", &np);
        value = strtok_r(values, ".", &vp);
        while (name != NULL && value != NULL) {
            strbuf_printf(b, str_eq(kinds[i].xml, "pci") ? " %s='0x%s'" : " %s='%s'", name, value);
            name = strtok_r(NULL, " ", &np);
            value = strtok_r(NULL, ".", &vp);
        }
        strbuf_puts(b, multifunction ? " multifunction='on'/>\n" : "/>\n");
        return name != NULL || value != NULL ? -1 : 0;
    }
    return -1;
}

static int attach_text(struct shell *sh, struct args *a, const struct vireo_domain *d,
                       struct strbuf *b, const char *done, const char *failed)
{
    AUTO_FREE char *xml = strbuf_take(b);
    uint32_t affect;

    if (xml == NULL || affect_of(a, d, &affect)) {
        return -1;
    }
    if (arg_set(a, "print-xml")) {
        printf("%s", xml);
        return 0;
    }
    if (attach_plain(sh->conn, d, xml, affect) < 0) {
        return fail("%s", failed);
    }
    extra(sh, "%s\n", done);
    return 0;
}

static void disk_source(struct strbuf *b, const struct args *a, const char *kind)
{
    AUTO_FREE char *source = xml_quote(arg(a, "source"));
    static const char *const host[] = { "name",      "source-host-name",
                                        "transport", "source-host-transport",
                                        "socket",    "source-host-socket",
                                        NULL };

    if (*arg(a, "source") == '\0' || source == NULL) {
        return;
    }
    if (str_eq(kind, "network")) {
        static const char *const proto[] = { "protocol", "source-protocol", NULL };

        strbuf_puts(b, "  <source");
        attrs(b, a, proto);
        strbuf_printf(b, " name='%s'", source);
        if (arg(a, "source-host-name") != NULL || arg(a, "source-host-socket") != NULL) {
            AUTO_FREE char *copy =
                arg(a, "source-host-name") != NULL ? strdup(arg(a, "source-host-name")) : NULL;
            char *colon = copy != NULL ? strrchr(copy, ':') : NULL;

            strbuf_puts(b, ">\n    <host");
            if (colon != NULL && strchr(copy, ':') == colon) {
                *colon = '\0';
                strbuf_printf(b, " name='%s' port='%s'", copy, colon + 1);
                attrs(b, a, host + 2);
            } else {
                attrs(b, a, host);
            }
            strbuf_puts(b, "/>\n  </source>\n");
        } else {
            strbuf_puts(b, "/>\n");
        }
    } else {
        strbuf_printf(b, "  <source %s='%s'/>\n", str_eq(kind, "file") ? "file" : "dev", source);
    }
}

static int attach_disk(struct shell *sh, struct args *a)
{
    static const char *const driver[] = { "name",     "driver",   "type",  "subdriver",
                                          "iothread", "iothread", "cache", "cache",
                                          "io",       "io",       NULL };
    const char *kind = arg(a, "sourcetype"), *mode = arg(a, "mode"), *bus = arg(a, "targetbus");
    struct strbuf b = STRBUF_INIT(XML_MAX_BYTES);
    AUTO_FREE char *target = xml_quote(arg(a, "target")), *quoted_bus = NULL;

    DOMAIN(a, d);
    if (kind == NULL) {
        kind = str_starts(arg(a, "source"), "/dev/") ? "block" : "file";
    } else if (!str_eq(kind, "file") && !str_eq(kind, "block") && !str_eq(kind, "network")) {
        return error("Unknown source type: '%s'", kind);
    }
    if (mode != NULL && !str_eq(mode, "readonly") && !str_eq(mode, "shareable")) {
        return error("No support for %s in command 'attach-disk'", mode);
    }
    strbuf_printf(&b, "<disk type='%s'", kind);
    if (arg(a, "type") != NULL) {
        strbuf_printf(&b, " device='%s'", arg(a, "type"));
    }
    strbuf_puts(&b, arg_set(a, "rawio") ? " rawio='yes'>\n" : ">\n");
    if (arg(a, "driver") != NULL || arg(a, "subdriver") != NULL || arg(a, "iothread") != NULL ||
        arg(a, "cache") != NULL || arg(a, "io") != NULL) {
        strbuf_puts(&b, "  <driver");
        attrs(&b, a, driver);
        strbuf_puts(&b, "/>\n");
    }
    disk_source(&b, a, kind);
    quoted_bus = bus != NULL ? xml_quote(bus) : NULL;
    strbuf_printf(&b, "  <target dev='%s'", target != NULL ? target : "");
    if (quoted_bus != NULL) {
        strbuf_printf(&b, " bus='%s'", quoted_bus);
    }
    strbuf_puts(&b, "/>\n");
    if (mode != NULL) {
        strbuf_printf(&b, "  <%s/>\n", mode);
    }
    text_element(&b, a, "serial", "serial");
    if (arg(a, "alias") != NULL) {
        AUTO_FREE char *v = xml_quote(arg(a, "alias"));

        strbuf_printf(&b, "  <alias name='%s'/>\n", v != NULL ? v : "");
    }
    text_element(&b, a, "wwn", "wwn");
    if (arg(a, "address") != NULL &&
        address(&b, arg(a, "address"), arg_set(a, "multifunction")) < 0) {
        strbuf_done(&b);
        return error("Invalid address.");
    }
    strbuf_puts(&b, "</disk>\n");
    return attach_text(sh, a, &d, &b, "Disk attached successfully", "Failed to attach disk");
}

/* "average[,peak[,burst[,floor]]]" */
static void rate(struct strbuf *b, const char *way, const char *text)
{
    static const char *const names[] = { "average", "peak", "burst", "floor" };
    AUTO_FREE char *copy = strdup(text);
    char *p = copy;

    strbuf_printf(b, "    <%s", way);
    for (int i = 0; p != NULL && i < 4; i++) {
        char *v = strsep(&p, ",");

        if (v != NULL && *v != '\0') {
            strbuf_printf(b, " %s='%s'", names[i], v);
        }
    }
    strbuf_puts(b, "/>\n");
}

static int attach_interface(struct shell *sh, struct args *a)
{
    static const struct {
        const char *type, *attr;
    } kinds[] = {
        { "network", "network" }, { "bridge", "bridge" }, { "direct", "dev" }, { "hostdev", NULL }
    };
    const char *attr = NULL, *type = arg(a, "type");
    struct strbuf b = STRBUF_INIT(XML_MAX_BYTES);
    AUTO_FREE char *source = xml_quote(arg(a, "source"));
    bool known = false;

    DOMAIN(a, d);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (str_eq(kinds[i].type, type)) {
            attr = kinds[i].attr;
            known = true;
        }
    }
    if (!known) {
        return error("No support for %s in command 'attach-interface'", type);
    }
    strbuf_printf(&b, "<interface type='%s'%s>\n", type,
                  arg_set(a, "managed") ? " managed='yes'" : "");
    if (attr == NULL) {
        strbuf_puts(&b, "  <source>\n  ");
        if (source == NULL || address(&b, source, false) < 0) {
            AUTO_FREE char *pci = str_format("pci:%s", source != NULL ? source : "");

            if (pci == NULL || address(&b, pci, false) < 0) {
                strbuf_done(&b);
                return error("cannot parse pci address '%s' for network interface",
                             arg(a, "source"));
            }
        }
        strbuf_puts(&b, "  </source>\n");
    } else if (str_eq(type, "direct")) {
        strbuf_printf(
            &b, "  <source dev='%s'%s%s%s/>\n", source, arg(a, "source-mode") ? " mode='" : "",
            arg(a, "source-mode") ? arg(a, "source-mode") : "", arg(a, "source-mode") ? "'" : "");
    } else {
        strbuf_printf(&b, "  <source %s='%s'/>\n", attr, source);
    }
    {
        static const struct {
            const char *option, *element, *attribute;
        } simple[] = { { "target", "target", "dev" },
                       { "mac", "mac", "address" },
                       { "script", "script", "path" },
                       { "model", "model", "type" },
                       { "alias", "alias", "name" } };

        for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++) {
            AUTO_FREE char *v =
                arg(a, simple[i].option) != NULL ? xml_quote(arg(a, simple[i].option)) : NULL;

            if (v != NULL) {
                strbuf_printf(&b, "  <%s %s='%s'/>\n", simple[i].element, simple[i].attribute, v);
            }
        }
    }
    if (arg(a, "inbound") != NULL || arg(a, "outbound") != NULL) {
        strbuf_puts(&b, "  <bandwidth>\n");
        if (arg(a, "inbound") != NULL) {
            rate(&b, "inbound", arg(a, "inbound"));
        }
        if (arg(a, "outbound") != NULL) {
            rate(&b, "outbound", arg(a, "outbound"));
        }
        strbuf_puts(&b, "  </bandwidth>\n");
    }
    strbuf_puts(&b, "</interface>\n");
    return attach_text(sh, a, &d, &b, "Interface attached successfully",
                       "Failed to attach interface");
}

/* ---- devices that are there ---- */

static xmlDoc *document_for(struct shell *sh, const struct vireo_domain *d, uint32_t affect)
{
    AUTO_RET struct vireo_domain_get_xml_desc_ret *x = NULL;

    if (vireo_domain_get_xml_desc(
            sh->conn, d, (affect & AFFECT_CONFIG) && !(affect & AFFECT_LIVE) ? 2 : 0, &x) < 0) {
        (void)fail_last();
        return NULL;
    }
    return document_read(x->xml);
}

static xmlNode *find_disk_element(xmlDoc *doc, const char *which)
{
    xmlNode *devices = element_at(xmlDocGetRootElement(doc), "devices");

    for (xmlNode *k = NULL; (k = element_next(devices, k, "disk")) != NULL;) {
        AUTO_FREE char *target = element_get(k, "target/@dev"),
                       *file = element_get(k, "source/@file"), *dev = element_get(k, "source/@dev");

        if ((target != NULL && str_eq(target, which)) || (file != NULL && str_eq(file, which)) ||
            (dev != NULL && str_eq(dev, which))) {
            return k;
        }
    }
    return NULL;
}

static int detach_text(struct shell *sh, struct args *a, const struct vireo_domain *d,
                       const char *xml, uint32_t affect, const char *done, const char *failed)
{
    if (arg_set(a, "print-xml")) {
        printf("%s", xml);
        return 0;
    }
    if (detach_plain(sh->conn, d, xml, affect) < 0) {
        return fail("%s", failed);
    }
    extra(sh, "%s\n", done);
    return 0;
}

static int detach_disk(struct shell *sh, struct args *a)
{
    AUTO_DOC xmlDoc *doc = NULL;
    AUTO_FREE char *text = NULL;
    uint32_t affect;
    xmlNode *k;

    DOMAIN(a, d);
    if (affect_of(a, &d, &affect)) {
        return -1;
    }
    doc = document_for(sh, &d, affect);
    if (doc == NULL) {
        return -1;
    }
    k = find_disk_element(doc, arg(a, "target"));
    if (k == NULL) {
        return error("No disk found whose source path or target is %s", arg(a, "target"));
    }
    text = element_text(k);
    return text != NULL ? detach_text(sh, a, &d, text, affect, "Disk detached successfully",
                                      "Failed to detach disk")
                        : -1;
}

static int detach_interface(struct shell *sh, struct args *a)
{
    AUTO_DOC xmlDoc *doc = NULL;
    AUTO_FREE char *text = NULL;
    const char *mac = arg(a, "mac");
    xmlNode *devices, *found = NULL, *k = NULL;
    uint32_t affect;
    unsigned n = 0;

    DOMAIN(a, d);
    if (affect_of(a, &d, &affect)) {
        return -1;
    }
    doc = document_for(sh, &d, affect);
    if (doc == NULL) {
        return -1;
    }
    devices = element_at(xmlDocGetRootElement(doc), "devices");
    while ((k = element_next(devices, k, "interface")) != NULL) {
        AUTO_FREE char *type = element_attr(k, "type"), *own = element_get(k, "mac/@address");

        if (type != NULL && str_eq(type, arg(a, "type"))) {
            n++;
            if (mac == NULL || (own != NULL && strcasecmp(own, mac) == 0)) {
                found = k;
            }
        }
    }
    if (n == 0) {
        return error("No interface found whose type is %s", arg(a, "type"));
    }
    if (mac == NULL && n > 1) {
        return error("Domain has %u interfaces. Please specify which one to detach using --mac", n);
    }
    if (found == NULL) {
        return error("No interface with MAC address %s was found", mac);
    }
    text = element_text(found);
    return text != NULL ? detach_text(sh, a, &d, text, affect, "Interface detached successfully",
                                      "Failed to detach interface")
                        : -1;
}

static int setlink(struct shell *sh, struct args *a)
{
    AUTO_DOC xmlDoc *doc = NULL;
    AUTO_FREE char *text = NULL;
    const char *state = arg(a, "state");
    uint32_t affect;
    xmlNode *k, *link;

    DOMAIN(a, d);
    if (!str_eq(state, "up") && !str_eq(state, "down")) {
        return error("invalid link state '%s'", state);
    }
    affect = arg_set(a, "config") || d.id < 0 ? AFFECT_CONFIG : AFFECT_LIVE;
    doc = document_for(sh, &d, affect);
    if (doc == NULL) {
        return -1;
    }
    k = find_interface_element(xmlDocGetRootElement(doc), arg(a, "interface"));
    if (k == NULL) {
        return error("interface '%s' not found", arg(a, "interface"));
    }
    link = element_next(k, NULL, "link");
    if (link == NULL) {
        link = xmlNewChild(k, NULL, (const xmlChar *)"link", NULL);
    }
    (void)xmlSetProp(link, (const xmlChar *)"state", (const xmlChar *)state);
    text = element_text(k);
    if (text == NULL) {
        return -1;
    }
    if (arg_set(a, "print-xml")) {
        printf("%s", text);
        return 0;
    }
    if (vireo_domain_update_device_flags(sh->conn, &d, text, affect) < 0) {
        return fail("Failed to update interface link state");
    }
    extra(sh, "Device updated successfully\n");
    return 0;
}

static int change_media(struct shell *sh, struct args *a)
{
    bool eject = arg_set(a, "eject"), insert = arg_set(a, "insert"), update = arg_set(a, "update");
    const char *source = arg(a, "source"), *action = eject ? "eject" : insert ? "insert" : "update";
    AUTO_DOC xmlDoc *doc = NULL;
    AUTO_FREE char *text = NULL, *device = NULL;
    xmlNode *k, *now;
    uint32_t affect;

    DOMAIN(a, d);
    if (arg_exclusive(a, "eject", "insert") || arg_exclusive(a, "eject", "update") ||
        arg_exclusive(a, "insert", "update") || arg_exclusive(a, "eject", "block") ||
        arg_affect(a, &affect)) {
        return -1;
    }
    if (!eject && !insert && !update) {
        update = true;
    }
    if (insert && source == NULL) {
        return error("No disk source specified for inserting");
    }
    doc = document_for(sh, &d, affect);
    if (doc == NULL) {
        return -1;
    }
    k = find_disk_element(doc, arg(a, "path"));
    device = k != NULL ? element_attr(k, "device") : NULL;
    if (device == NULL || (!str_eq(device, "cdrom") && !str_eq(device, "floppy"))) {
        return error("No disk found whose source path or target is %s", arg(a, "path"));
    }
    now = element_next(k, NULL, "source");
    if (eject && now == NULL) {
        return error("The disk device '%s' doesn't have media", arg(a, "path"));
    }
    if (insert && now != NULL) {
        return error("The disk device '%s' already has media", arg(a, "path"));
    }
    if (now != NULL) {
        xmlUnlinkNode(now);
        xmlFreeNode(now);
    }
    if (source != NULL && !eject) {
        bool block = arg_set(a, "block") || str_starts(source, "/dev/");

        now = xmlNewChild(k, NULL, (const xmlChar *)"source", NULL);
        (void)xmlSetProp(now, (const xmlChar *)(block ? "dev" : "file"), (const xmlChar *)source);
        (void)xmlSetProp(k, (const xmlChar *)"type", (const xmlChar *)(block ? "block" : "file"));
    }
    text = element_text(k);
    if (text == NULL) {
        return -1;
    }
    if (arg_set(a, "print-xml")) {
        printf("%s", text);
        return 0;
    }
    if (vireo_domain_update_device_flags(sh->conn, &d, text,
                                         affect | (arg_set(a, "force") ? UPDATE_FORCE : 0)) < 0) {
        return fail("Failed to complete action %s on media", action);
    }
    extra(sh, "Successfully %s media.", eject ? "ejected" : insert ? "inserted" : "updated");
    return 0;
}

const struct shell_command device_commands[] = {
    { "attach-device", "domain! file! --persistent --config --live --current", attach_device,
      "attach a device from an XML file", false },
    { "attach-disk",
      "domain! source! target! targetbus driver subdriver iothread cache io type mode sourcetype serial wwn alias --rawio address --multifunction --print-xml source-protocol source-host-name source-host-transport source-host-socket --persistent --config --live --current",
      attach_disk, "attach a disk", false },
    { "attach-interface",
      "domain! type! source! target mac script model alias inbound outbound --persistent --config --live --current --print-xml --managed source-mode",
      attach_interface, "attach a network interface", false },
    { "change-media",
      "domain! path! source --eject --insert --update --current --live --config --force --print-xml --block",
      change_media, "change the medium of a CD or floppy drive", false },
    { "detach-device", "domain! file! --persistent --config --live --current", detach_device,
      "detach a device by its XML", false },
    { "detach-device-alias", "domain! alias! --config --live --current", detach_alias,
      "detach a device by its alias", false },
    { "detach-disk", "domain! target! --persistent --config --live --current --print-xml",
      detach_disk, "detach a disk", false },
    { "detach-interface", "domain! type! mac --persistent --config --live --current --print-xml",
      detach_interface, "detach a network interface", false },
    { "domif-setlink", "domain! interface! state! --config --print-xml", setlink,
      "set the link state of a network interface", false },
    { "update-device", "domain! file! --persistent --config --live --current --force",
      update_device, "change a device by its XML", false },
    { NULL, NULL, NULL, NULL, false },
};
