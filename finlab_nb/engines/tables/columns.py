"""What the columns of trades, fills and curves are called: on which platform, by which broker, and in general.

A new platform is a new row of `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from finlab_nb.records.names import OTHER_NAMES

Kind: TypeAlias = Literal["trades", "fills", "entries and exits", "curve"]
Names: TypeAlias = dict[str, tuple[str, ...]]  # by role; of several the first that a table has counts

_CODE: Final = (
    *OTHER_NAMES["stock_code"],
    *("stock", "contract", "market", "item", "instrument_id", "stock_code", "column", "data", "sid"),
    *("股票代號", "證券代號", "商品代號", "股票代碼", "證券代碼", "代號", "股票代码", "证券代码", "代码", "合约代码"),
    *("股票", "證券", "商品", "標的", "合約", "合约", "品种", "标的", "交易對", "交易对"),
    *("股票名稱", "證券名稱", "商品名稱", "证券名称", "股票名称"),
)
_SIDE: Final = (
    *("buy/sell", "side", "order_side", "position_side", "action", "direction", "transaction_type", "trade_type"),
    *(
        "trans_code",
        "long/short",
        "position_type",
        "buy_sell",
        "b/s",
        "type",
        "買賣別",
        "買賣",
        "買賣方向",
        "交易別",
        "交易類別",
    ),
    *("多空", "方向", "買賣類別", "交易種類", "买卖方向", "买卖标志", "买卖", "交易方向", "委托方向", "交易类别"),
    "操作",
)
_OF_BOTH: Final[Names] = {
    "stock_code": _CODE,
    "side": _SIDE,
    "fee": ("手續費", "手续费", "佣金"),
    "tax": ("tax", "taxes", "交易稅", "證交稅", "證券交易稅", "期交稅", "稅", "印花税"),
    "multiplier": ("multiplier", "mult", *OTHER_NAMES["multiplier"], "合約乘數", "合约乘数"),
    "lots": ("成交張數", "張數"),
    "currency": ("currency", "currencyprimary", "quote_currency", "幣別", "幣種", "币种"),
    "strategy": ("strategy", "strategy_name", "system", "策略", "策略名稱", "策略名称"),
}
_TRADES: Final[Names] = _OF_BOTH | {
    "entry_date": (
        *("entry_date", *OTHER_NAMES["entry_date"], "buy_date", "date_opened", "opened", "start_date", "entered_at"),
        *("進場日期", "進場時間", "開倉時間", "開倉日期", "買進日期", "買入日期"),
        *("进场时间", "开仓时间", "开仓日期", "买入日期"),
    ),
    "exit_date": (
        *("exit_date", *OTHER_NAMES["exit_date"], "sell_date", "date_closed", "closed", "end_date", "exited_at"),
        *("出場日期", "出場時間", "平倉時間", "平倉日期", "賣出日期"),
        *("出场时间", "平仓时间", "平仓日期", "卖出日期"),
    ),
    "entry_price": (
        *("entry_price", *OTHER_NAMES["entry_price"], "buy_price", "entry"),
        *("進場價", "進場價格", "開倉價", "開倉均價", "買進價", "買入價", "进场价", "开仓价", "开仓均价", "买入价"),
    ),
    "exit_price": (
        *("exit_price", *OTHER_NAMES["exit_price"], "sell_price", "exit"),
        *("出場價", "出場價格", "平倉價", "平倉均價", "賣出價", "出场价", "平仓价", "平仓均价", "卖出价"),
    ),
    "size": (
        *("position_size", *OTHER_NAMES["position_size"], "units", "position", "lots"),
        *("股數", "成交股數", "數量", "口數", "数量", "股数"),
    ),
    "profit_loss": (
        *("profit_loss", "net_p&l", *OTHER_NAMES["profit_loss"], "p&l", "p/l", "profit/loss", "realized_p&l"),
        *("淨損益", "損益", "已實現損益", "獲利", "净损益", "净盈亏", "盈亏", "平仓盈亏", "净利润"),
    ),
    "trade_return": ("trade_return", *OTHER_NAMES["trade_return"]),
    "fee": (*OTHER_NAMES["fees"], "fees", *_OF_BOTH["fee"]),
    "entry_fee": ("entry_fees", "entry_fee", "entry_commission", "fee_entry"),
    "exit_fee": ("exit_fees", "exit_fee", "exit_commission", "fee_exit"),
    "is_short": ("is_short",),
    "status": ("status", "狀態", "状态"),
    "mae": ("mae", *OTHER_NAMES["mae"]),
    "mfe": ("mfe", *OTHER_NAMES["mfe"]),
    "entry_reason": ("entry_reason", *OTHER_NAMES["entry_reason"]),
    "exit_reason": ("exit_reason", *OTHER_NAMES["exit_reason"]),
}
_FILLS: Final[Names] = _OF_BOTH | {
    "date": (
        *("filled_at", "fill_time", "filled_time", "executed_at", "execution_time", "exec_time", "transaction_time"),
        *("datetime", "date_time", "date/time", "trade_datetime", "trade_date", "ts_event", "date", "timestamp"),
        *("trade_time", "time", "成交日期", "成交日", "成交時間", "成交时间", "交易日期", "交易日", "日期"),
        *("時間", "时间", "execution_date", "transaction_date", "activity_date", "run_date", "委託日期", "委託時間"),
    ),
    "time": ("time", "trade_time", "成交時間", "成交时间", "時間", "时间"),
    "size": (
        *("filled_qty", "filled_quantity", "filled_size", "executed_qty", "executed", "filled", "last_qty"),
        *("size", "quantity", "qty", "shares", "amount", "volume", "contracts", "units"),
        *("成交股數", "成交數量", "股數", "數量", "口數", "成交數", "成交数量", "成交量", "数量"),
    ),
    "price": (
        *("filled_avg_price", "average_price", "avg_fill_price", "avg_price", "average", "fill_price", "filled_price"),
        *("executed_price", "exec_price", "last_px", "trade_price", "t._price", "price"),
        *("成交價", "成交價格", "成交均價", "成交單價", "單價", "價格", "成交价", "成交价格", "成交均价", "价格"),
    ),
    "fee": (
        *("fee", "fees", "commission", "commissions", "comm", "comm/fee", "ibcommission", "fee_cost", "fee.cost"),
        *("total_fees", "fees_comm", "fees_and_comm", "commission_fees", "brokerage", *_OF_BOTH["fee"]),
    ),
    "fee_currency": ("fee_currency", "fee.currency", "fee_coin", "commission_asset", "ibcommissioncurrency"),
    "is_buyer": ("is_buyer",),
    "status": ("status", "state", "order_status", "委託狀態", "狀態", "状态", "订单状态", "委托状态"),
    "detail": ("levelofdetail", "datadiscriminator"),
    "class": ("assetclass", "asset_category", "asset_class"),
    "paid": ("淨收付金額", "淨收付", "收付金額", "客戶淨收付", "應收付金額", "netcash", "net_amount", "发生金额"),
    "reason": ("reason", "tag", "signal"),
}
_TRADINGVIEW: Final[Names] = {
    "trade": ("trade_#", "trade_number", "trade_no.", "交易_#", "交易編號", "交易编号"),
    "type": ("type", "類型", "类型"),
    "signal": ("signal", "訊號", "信号"),
    "date": ("date/time", "date_and_time", "datetime", "日期/時間", "日期/时间"),
    "price": ("price", "價格", "价格"),
    "size": ("position_size_(qty)", "size_(qty)", "contracts", "quantity", "qty", "合約", "合约", "数量", "數量"),
    "profit_loss": ("net_p&l", "net_pnl", "profit", "p&l", "淨損益", "净损益", "獲利", "获利"),
    "stock_code": ("symbol", "ticker"),
    "strategy": ("strategy", "strategy_name"),
}
_METATRADER: Final[Names] = {
    "stock_code": ("symbol", "item"),
    "side": ("type",),
    "size": ("volume", "size", "lots", "position_size"),
    "gross": ("profit",),
    "fee": ("commission", "commissions"),
    "further_fee": ("fee",),
    "tax": ("taxes",),
    "swap": ("swap",),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a platform writes a table.

    Attributes
    ----------
    platform
        Its name, as provenance has it.
    kind
        What a row is.
    marks
        Names by which it is known: all of them, of those with bars between them any.
    names
        What it calls each role.
    are_costs_negative
        Whether fees are written as what the account loses.
    code_digits
        What stock codes that were read as numbers have at least.
    """

    platform: str
    kind: Kind
    marks: tuple[str, ...] = ()
    names: Names = field(default_factory=dict)
    are_costs_negative: bool = False
    code_digits: int = 0


_MT_POSITIONS: Final[Names] = {
    "entry_date": (*_TRADES["entry_date"], "time"),
    "exit_date": ("time.1", *_TRADES["exit_date"]),
    "entry_price": (*_TRADES["entry_price"], "price"),
    "exit_price": ("price.1", *_TRADES["exit_price"]),
}
_EXITS: Final = "|".join((*_TRADES["exit_date"], *_TRADES["exit_price"]))
LAYOUTS: Final = (
    Layout(
        platform="tradingview",
        kind="entries and exits",
        marks=(r"trade_#|trade_number|trade_no.|交易_#|交易編號|交易编号", "type|類型|类型", "signal|訊號|信号"),
        names=_TRADINGVIEW,
    ),
    Layout(
        platform="metatrader5",
        kind="trades",
        marks=("symbol", "volume|size|lots|position_size", "profit", "swap|time.1", f"time.1|{_EXITS}"),
        names=_METATRADER | _MT_POSITIONS,
        are_costs_negative=True,
    ),
    Layout(
        platform="metatrader4",
        kind="trades",
        marks=("ticket", "open_time", "close_time", "item", "profit"),
        names=_METATRADER | _MT_POSITIONS,
        are_costs_negative=True,
    ),
    Layout(
        platform="metatrader5",
        kind="fills",
        marks=("time", "deal", "symbol", "volume", "profit"),
        names=_METATRADER | {"date": ("time",), "price": ("price",)},
        are_costs_negative=True,
    ),
    Layout(
        platform="interactive_brokers",
        kind="fills",
        marks=("tradeprice|t._price", "ibexecid|ibcommission|comm/fee|levelofdetail|currencyprimary|datadiscriminator"),
        names=_FILLS | {"stock_code": ("symbol",)},
        are_costs_negative=True,
    ),
    Layout(
        platform="jesse",
        kind="trades",
        marks=("opened_at", "closed_at", "holding_period", "qty"),
        names=_TRADES | {"size": ("qty",)},
    ),
    Layout(
        platform="taiwan_broker",
        kind="fills",
        marks=(
            "買賣別|買賣|交易別|交易類別|買賣類別|交易種類",
            "股票代號|證券代號|股票代碼|證券代碼|股票名稱|證券名稱|代號|股票",
        ),
        names=_FILLS,
        code_digits=4,
    ),
    Layout(
        platform="china_broker",
        kind="fills",
        marks=("操作|买卖标志|买卖方向|买卖|交易类别|委托方向", "证券代码|股票代码|证券名称|股票名称"),
        names=_FILLS,
        code_digits=6,
    ),
    Layout(
        platform="binance",
        kind="fills",
        marks=("date(utc)", "pair|market"),
        names=_FILLS | {"size": ("executed", "amount")},
    ),
    Layout(platform="binance", kind="fills", marks=("commission_asset", "is_buyer|isbuyer"), names=_FILLS),
    Layout(platform="ccxt", kind="fills", marks=("taker_or_maker|takerormaker", "side"), names=_FILLS),
    Layout(platform="alpaca", kind="fills", marks=("filled_avg_price", "filled_qty", "side"), names=_FILLS),
    Layout(  # what has exits is no table of fills, whatever its other columns are called
        platform="table",
        kind="trades",
        marks=(_EXITS,),
        names=_TRADES
        | {
            "entry_date": (*_TRADES["entry_date"], *_FILLS["date"]),
            "entry_price": (*_TRADES["entry_price"], "price"),
        },
    ),
    Layout(platform="table", kind="trades", names=_TRADES),
    Layout(platform="table", kind="fills", names=_FILLS),
)
CURVES: Final[Names] = {
    "equity": (
        *("equity", "value", "account_value", "portfolio_value", "total_value", "nav", "net_liquidation", "balance"),
        *("total", "close", "權益", "淨值", "資產", "總資產", "权益", "净值", "资产", "总资产"),
    ),
    "returns": ("return", "returns", "ret", "daily_return", "報酬率", "收益率", "日报酬", "日收益"),
}
CURVE_DATES: Final = _FILLS["date"]
REQUIRED: Final[Mapping[Kind, tuple[str, ...]]] = {
    "trades": ("entry_date", "exit_date", "entry_price", "exit_price", "size"),
    "fills": ("date", "size", "price"),
    "entries and exits": ("trade", "type", "date", "price", "size"),
}
# What a caller may call a role of ours; roles have names of their own where a column may be one of several parts.
OUR_NAMES: Final[Mapping[str, str]] = {
    **{role: role for role in (*_TRADES, *_FILLS)},
    "position_size": "size",
    "quantity": "size",
    "fees": "fee",
}
