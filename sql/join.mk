# Joins the topic files: into the script of this version, into one from each earlier version, and into the portable edition.
# For Makefile, which sets here and EXTENSION.
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(here)$(EXTENSION).control)
SQL_FILE = sql/$(EXTENSION)--$(EXTVERSION).sql
UPDATE_FILES = $(patsubst $(here)sql/updates/%,sql/$(EXTENSION)--%,$(wildcard $(here)sql/updates/*--$(EXTVERSION).sql))
# No file of the extension: it is run by hand where nobody can install one.
PORTABLE_FILE = sql/$(EXTENSION)--portable.sql

.PHONY: portable
portable: $(PORTABLE_FILE)

# Of one number, the declarations come before the objects that use them.
in_order = $(foreach name,$(sort $(notdir $(wildcard $(addsuffix /[0-9][0-9]_*.sql,$(1))))),$(wildcard $(addsuffix /$(name),$(1))))
NATIVE_SOURCES := $(call in_order,$(addprefix $(here)sql/,native common))
PORTABLE_SOURCES := $(call in_order,$(addprefix $(here)sql/,portable common))

$(SQL_FILE): $(NATIVE_SOURCES)
	@mkdir -p $(@D)
	cat $(NATIVE_SOURCES) > $@

$(UPDATE_FILES): sql/$(EXTENSION)--%: $(here)sql/updates/% $(here)sql/updates/replace.awk $(NATIVE_SOURCES)
	@mkdir -p $(@D)
	cat $(NATIVE_SOURCES) | awk -f $(here)sql/updates/replace.awk | \
	  sed -e '/^-- the functions of this version$$/ {' -e 'r /dev/stdin' -e 'd' -e '}' $< > $@

$(PORTABLE_FILE): $(here)sql/portable/idempotent.awk $(PORTABLE_SOURCES) $(here)$(EXTENSION).control
	@mkdir -p $(@D)
	cat $(PORTABLE_SOURCES) | sed 's/@version@/$(EXTVERSION)/g' | awk -f $(here)sql/portable/idempotent.awk > $@.new && mv $@.new $@
