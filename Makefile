# make, make install: the extension, for the PostgreSQL of PG_CONFIG. `make help` names the other targets.
here := $(patsubst ./,,$(dir $(firstword $(MAKEFILE_LIST))))
ifneq (,$(word 2,$(filter-out $(MAKEFILES),$(MAKEFILE_LIST))))
$(error make cannot handle a space in the path of the sources, $(strip $(MAKEFILE_LIST)). Run make in their directory)
endif
EXTENSION = wee5_cron

# These need no PostgreSQL.
without_server = help portable npm dist release
ifneq (,$(filter-out $(without_server),$(or $(MAKECMDGOALS),all)))
include $(here)Makefile.pgxs
else
include $(here)sql/join.mk
endif

.PHONY: help
help:
	@echo 'make                       builds the extension, and the SQL files'; \
	echo 'make install, uninstall    PG_CONFIG names the server, DESTDIR a directory to install under'; \
	echo 'make installcheck          tests what is installed; not as root'; \
	echo 'make clean'; \
	echo 'make portable              the portable edition, $(PORTABLE_FILE)'; \
	echo 'make npm                   the npm package, in dist/'; \
	echo 'make dist                  the sources as .tar.gz and .zip, and the portable edition, in dist/'; \
	echo 'make release               these, the npm package and the Debian packages, in dist/'

.PHONY: npm
npm:
	cd $(or $(here),./)packages/wee5-cron && npm ci --ignore-scripts --no-audit --no-fund && npm run build && mkdir -p '$(CURDIR)/dist' && npm pack --pack-destination '$(CURDIR)/dist'

.PHONY: dist release
dist:
	$(or $(here),./)scripts/release --without-npm '$(CURDIR)/dist'
release:
	$(or $(here),./)scripts/release --deb '$(CURDIR)/dist'
