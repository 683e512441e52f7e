# The SQL of README.md, so that what a test does is what is written there. A block that is not for every reader has a
# name: "```sql over" under its heading.
package Wee5Cron::Readme;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);

use PostgreSQL::Test::Utils;

my $file = abs_path(dirname(__FILE__) . '/../../../README.md');

# The named blocks of a section: { over => "BEGIN; ...", ... }.
sub blocks {
    my ($heading) = @_;
    my ($section) = slurp_file($file) =~ /^## \Q$heading\E\n(.*?)(?=^## |\z)/ms;
    die "README.md has no section \"$heading\"\n" unless defined $section;
    my %blocks = $section =~ /^```sql (\S+)\n(.*?)^```$/msg;
    return \%blocks;
}

1;
