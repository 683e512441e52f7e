# The SQL of README.md and of the pages in docs/, so that a test does exactly what is written there. A block that is not for
# every reader has a name: "```sql over" under its heading.
package Wee5Cron::Readme;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);

use PostgreSQL::Test::Utils;

my $top = abs_path(dirname(__FILE__) . '/../../..');

# README.md first, then the pages in docs/ by their names.
sub pages {
    return grep { -e } "$top/README.md", sort glob("$top/docs/*.md");
}

# The text under a heading, of the first page that has named blocks there. A page's title counts as a heading of all of it.
sub section {
    my ($heading) = @_;
    my @found;
    for my $page (pages()) {
        my $text = slurp_file($page);
        push @found, $1 if $text =~ /^# \Q$heading\E\n(.*)\z/ms || $text =~ /^## \Q$heading\E\n(.*?)(?=^## |\z)/ms;
    }
    die "no page has a section \"$heading\"\n" unless @found;
    my ($first) = grep { /^```(?:pg)?sql \S/m } @found;
    return $first // $found[0];
}

# The named blocks of a section: { over => "BEGIN; ...", ... }.
sub blocks {
    my ($heading) = @_;
    my %blocks = section($heading) =~ /^```(?:pg)?sql (\S+)\n(.*?)^```$/msg;
    return \%blocks;
}

1;
