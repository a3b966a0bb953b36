"""Names as people write them."""
NAMES = ('under $5 and over $1', '$$', '$x^2', '_hidden', '<b>&amp;</b>', '</script><script>alert(1)', '100 % {sure}',
         '{}', '%s %d', 'C:\\new\\table', '\\frac{', 'two\nlines', 'tab\there', '"quoted" \'name\'', '猫と犬', '고양이',
         'crème brûlée', 'Škoda', '😀 🫠', 'שלום', 'قطة', 'ไทย', 'a|b `code`', ', comma first', ' spaces  around ',
         'a very long name, ' * 12, '#!~^', 'bell\x07', '', 'NaN')
# Environments of terminals that lack most characters: a C locale, and a Chinese terminal in one
LOCALES = (dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0'),
           dict(LC_ALL='C', PYTHONUTF8='0', PYTHONCOERCECLOCALE='0', PYTHONIOENCODING='gbk'))
